// Decodes the sections of mcpbox.yaml into Settings.
#pragma once

#include "config/decoder.h"
#include "config/keys.h"
#include "config/references.h"
#include "config/settings.h"

namespace mcpbox::config {

// What the files of the sections know of their keys.
KeyTable top_keys();
KeyTable server_keys();
KeyTable network_keys();

// Problems go to the decoder; what was wrong keeps its default.
void decode_settings(Decoder& decoder, const Node& root, Settings& settings);
// The part that load_place() reads.
void decode_place(Decoder& decoder, const Node& root, Image image, Settings& settings);

// The parts of it that are read again at each start (config/references.h).
void decode_referring(Decoder& decoder, const ServerReferences& from, ServerSettings& server);

// One entry of `servers:`. `allowed_roots` are canonical.
void decode_server(Decoder& decoder, const Node& key, const Node& node, const std::vector<std::string>& allowed_roots,
                   ServerSettings& server);

// `servers.<name>.box.network` and `egress:`.
void decode_network(Decoder& decoder, const Node& node, const std::string& path, ServerNetwork& network);
void decode_egress(Decoder& decoder, const Node& node, Settings& settings);

}  // namespace mcpbox::config
