// Which folders of the host go into the sandbox: the ones that are named, and the ones that a command line speaks of.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "workspace/command.h"
#include "workspace/denied.h"
#include "workspace/folder_reader.h"
#include "workspace/plan.h"
#include "workspace/rewrite.h"

namespace mcpbox::workspace {

class RootFinder {
 public:
  RootFinder(const LaunchSpec& spec, const Policy& policy, Plan& plan, FolderReader& files);

  // Fills plan.roots (first the project's), plan.refused, plan.why.
  void find(const Command& command);
  PathMap path_map() const;
  // Why the canonical folder may not be a root; empty when it may.
  std::string refuse(const std::string& folder) const;

 private:
  enum class Role { kProgram, kScript, kFolder, kData };
  struct Named {
    Root root;
    std::string spelled;
  };

  void name(const std::string& path, RootMode mode, Access access, const std::string& why);
  void infer(const Command& command);
  void start_in(const std::string& folder, const Command& command);
  void consider(const std::string& path, Role role, bool whole, const std::string& what);
  // False when it is known already.
  bool add(const std::string& folder, const std::string& spelled, RootMode mode, Access access, const std::string& why);
  // The same as refuse() for what was opened under that name.
  std::string refuse(const std::string& folder, const sys::ReachedDirectory& reached) const;
  std::string judge(const std::string& folder, std::string denied, bool allowed) const;
  void drop_covered();
  void place();
  void cover();
  bool covered(const std::string& folder) const;
  // Why the links in `path` are not followed: one of them lies in a project and leads out of it. Empty when they are.
  std::string leads_out(const std::string& path, Role role) const;
  // The allowed root above the canonical folder, by identity; empty when there is none.
  std::string allowed_above(const std::string& folder) const;

  const LaunchSpec& spec_;
  const Policy& policy_;
  Plan& plan_;
  FolderReader& files_;
  DeniedPlaces denied_;
  std::set<sys::FileId> allowed_;
  std::vector<Named> found_;
};

}  // namespace mcpbox::workspace
