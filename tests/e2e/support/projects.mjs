// Small projects of every kind that an installation is planned for, each with a program that says "ok" when it has what it needs.
// Pure packages without dependencies, so that an installation is one or two requests.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

const cow = 'import cowsay\nprint("ok", cowsay.get_output_string("cow", "moo").splitlines()[1])\n';
const pad = 'console.log("ok", require("left-pad")("7", 3, "0"));\n';
const cowHash = 'sha256:274b1e6fc1b966d53976333eb90ac94cb07a450a700b455af9fbdf882244b30a';
const padHash = 'sha512-XI5MPzVNApjAyhQzphX8BkmKsKUxD4LdyK24iZeQGinBN9yTQT3bFlCBy/aVx2HrNcqQGsdot8ghrjyrvMCoEA==';
const padLock = (root, more = {}) =>
  JSON.stringify({
    name: 'p', version: '1.0.0', lockfileVersion: 3, requires: true,
    packages: {
      '': root, ...more,
      'node_modules/left-pad': { version: '1.3.0', resolved: 'https://registry.npmjs.org/left-pad/-/left-pad-1.3.0.tgz', integrity: padHash },
    },
  });
const manifest = (more = {}) => JSON.stringify({ name: 'p', version: '1.0.0', dependencies: { 'left-pad': '^1.3.0' }, ...more });
const cowLocked = `
[[package]]
name = "cowsay"
version = "6.1"
source = { registry = "https://pypi.org/simple" }
wheels = [
    { url = "https://files.pythonhosted.org/packages/f1/13/63c0a02c44024ee16f664e0b36eefeb22d54e93531630bd99e237986f534/cowsay-6.1-py3-none-any.whl", hash = "${cowHash}" },
]
`;
const setup = 'from setuptools import setup\nsetup(name="own", version="1.0", py_modules=["own"], install_requires=["cowsay==6.1"])\n';

// [name, files, command, options]: `{P}` is the project's folder. `mode` is --install-mode; `says` what else must be printed.
export const projects = [
  ['uv.lock', {
    'pyproject.toml': '[project]\nname = "demo"\nversion = "0.1"\nrequires-python = ">=3.9"\ndependencies = ["cowsay"]\n',
    'uv.lock': `version = 1\nrevision = 3\nrequires-python = ">=3.9"\n${cowLocked}
[[package]]
name = "demo"
version = "0.1"
source = { virtual = "." }
dependencies = [{ name = "cowsay" }]

[package.metadata]
requires-dist = [{ name = "cowsay" }]
`,
    'main.py': cow,
  }, ['uv', 'run', '{P}/main.py'], { mode: 'locked' }],
  ['a member of a uv workspace', {
    'pyproject.toml': '[project]\nname = "top"\nversion = "0.1"\nrequires-python = ">=3.9"\n[tool.uv.workspace]\nmembers = ["packages/*"]\n',
    'packages/app/pyproject.toml': '[project]\nname = "app"\nversion = "0.1"\nrequires-python = ">=3.9"\ndependencies = ["lib", "cowsay"]\n[tool.uv.sources]\nlib = { workspace = true }\n',
    'packages/app/main.py': `import lib\n${cow}`,
    'packages/lib/pyproject.toml': '[project]\nname = "lib"\nversion = "0.1"\nrequires-python = ">=3.9"\n[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[tool.setuptools]\npy-modules = ["lib"]\n',
    'packages/lib/lib.py': 'x = 1\n',
    'uv.lock': `version = 1\nrevision = 3\nrequires-python = ">=3.9"\n
[manifest]
members = ["app", "lib", "top"]

[[package]]
name = "app"
version = "0.1"
source = { virtual = "packages/app" }
dependencies = [{ name = "cowsay" }, { name = "lib" }]

[package.metadata]
requires-dist = [{ name = "cowsay" }, { name = "lib", editable = "packages/lib" }]
${cowLocked}
[[package]]
name = "lib"
version = "0.1"
source = { editable = "packages/lib" }

[[package]]
name = "top"
version = "0.1"
source = { virtual = "." }
`,
  }, ['uv', '--directory', '{P}/packages/app', 'run', 'main.py']],
  ['a PEP 723 script', {
    'tool.py': `# /// script\n# requires-python = ">=3.9"\n# dependencies = ["cowsay==6.1"]\n# ///\n${cow}`,
  }, ['uv', 'run', '{P}/tool.py'], { mode: 'locked' }],
  ['requirements with hashes', {
    'requirements.txt': `cowsay==6.1 \\\n    --hash=${cowHash}\n`, 'main.py': cow,
  }, ['python', '{P}/main.py'], { mode: 'locked' }],
  ['-e . with setup.py', { 'requirements.txt': '-e .\n', 'setup.py': setup, 'own.py': cow, 'main.py': 'import own\n' }, ['python', '{P}/main.py']],
  ['setup.cfg', {
    'setup.cfg': '[metadata]\nname = own\nversion = 1.0\n[options]\npy_modules = own\ninstall_requires = cowsay==6.1\n', 'own.py': cow, 'main.py': 'import own\n',
  }, ['python', '{P}/main.py']],
  ['poetry.lock', {
    'pyproject.toml': '[tool.poetry]\nname = "p"\nversion = "0.1"\ndescription = ""\npackage-mode = false\n[tool.poetry.dependencies]\npython = ">=3.9"\ncowsay = "*"\n',
    'poetry.lock': `[[package]]\nname = "cowsay"\nversion = "6.1"\ndescription = ""\noptional = false\npython-versions = ">=3.8"\nfiles = [\n    {file = "cowsay-6.1-py3-none-any.whl", hash = "${cowHash}"},\n]\n\n[metadata]\nlock-version = "2.0"\npython-versions = ">=3.9"\ncontent-hash = "x"\n`,
    'main.py': cow,
  }, ['poetry', '-C', '{P}', 'run', 'python', 'main.py'], { mode: 'locked' }],
  ['pipx run', {}, ['pipx', 'run', 'cowsay==6.1', '-t', 'ok'], { says: /\| ok \|/ }],
  ['package-lock.json, with a node_modules of the host that must not be used', {
    'package.json': manifest(), 'package-lock.json': padLock({ name: 'p', version: '1.0.0', dependencies: { 'left-pad': '^1.3.0' } }),
    'index.js': pad, 'node_modules/left-pad/package.json': '{"name":"left-pad","version":"1.3.0"}', 'node_modules/left-pad/index.js': 'throw new Error("the host\'s")',
  }, ['node', '{P}/index.js'], { mode: 'locked' }],
  ['a virtual environment of the host that must not be used', {
    'requirements.txt': 'cowsay==6.1\n', 'main.py': cow, '.venv/pyvenv.cfg': 'home = /usr/bin\n', '.venv/bin/python': '#!/bin/sh\necho the host\'s\n',
  }, ['{P}/.venv/bin/python', '{P}/main.py'], { mode: 'locked', executable: ['.venv/bin/python'] }],
  ['pnpm-lock.yaml', {
    'package.json': manifest({ packageManager: 'pnpm@9.15.9' }),
    'pnpm-lock.yaml': `lockfileVersion: '9.0'\n\nsettings:\n  autoInstallPeers: true\n  excludeLinksFromLockfile: false\n\nimporters:\n\n  .:\n    dependencies:\n      left-pad:\n        specifier: ^1.3.0\n        version: 1.3.0\n\npackages:\n\n  left-pad@1.3.0:\n    resolution: {integrity: ${padHash}}\n\nsnapshots:\n\n  left-pad@1.3.0: {}\n`,
    'index.js': pad,
  }, ['node', '{P}/index.js'], { mode: 'locked' }],
  ['yarn.lock', {
    'package.json': manifest(),
    'yarn.lock': `# THIS IS AN AUTOGENERATED FILE. DO NOT EDIT THIS FILE DIRECTLY.\n# yarn lockfile v1\n\n\nleft-pad@^1.3.0:\n  version "1.3.0"\n  resolved "https://registry.yarnpkg.com/left-pad/-/left-pad-1.3.0.tgz"\n  integrity ${padHash}\n`,
    'index.js': pad,
  }, ['node', '{P}/index.js'], { mode: 'locked' }],
  ['a folder of an npm monorepo', {
    'package.json': JSON.stringify({ name: 'top', private: true, workspaces: ['packages/*'] }),
    'packages/app/package.json': JSON.stringify({ name: 'app', version: '1.0.0', dependencies: { 'left-pad': '^1.3.0', lib: '1.0.0' } }),
    'packages/app/index.js': `require("lib");\n${pad}`,
    'packages/lib/package.json': JSON.stringify({ name: 'lib', version: '1.0.0' }), 'packages/lib/index.js': 'module.exports = 1;\n',
    'package-lock.json': padLock({ name: 'top', workspaces: ['packages/*'] }, {
      'node_modules/app': { resolved: 'packages/app', link: true }, 'node_modules/lib': { resolved: 'packages/lib', link: true },
      'packages/app': { version: '1.0.0', dependencies: { 'left-pad': '^1.3.0', lib: '1.0.0' } }, 'packages/lib': { version: '1.0.0' },
    }),
  }, ['node', '{P}/packages/app/index.js'], { mode: 'locked' }],
  ['bunx', {}, ['bunx', 'cowsay@1.6.0', 'ok'], { says: /< ok >/ }],
];

export function writeProject(folder, files, executable = []) {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(`${folder}/${name}`), { recursive: true });
    writeFileSync(`${folder}/${name}`, text, { mode: executable.includes(name) ? 0o755 : 0o644 });
  }
}
