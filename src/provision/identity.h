// The uids of managed processes: what they would be without others in the way. uid_book.h hands them out.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

#include "box/engine.h"

namespace mcpbox::provision {

// A part of an engine's range: by default servers get 1,900,000,000 … 2,032,999,999, what they must not write and
// installers 2,033,000,000 … 2,132,999,999.
struct UidPart {
  uid_t first = 0;
  uid_t count = 0;
  bool contains(uid_t uid) const { return uid >= first && uid - first < count; }
};
UidPart server_part(const box::UidRange& range);     // the first 133/233
UidPart installer_part(const box::UidRange& range);  // the rest

// The uid that a name prefers: the same at every start and far from those of other instances, because RLIMIT_NPROC
// counts a uid on the whole engine host. Two names can prefer one.
uid_t preferred_server_uid(std::string_view instance, std::string_view server, const box::UidRange& range = {});
uid_t preferred_code_uid(std::string_view instance, std::string_view server, const box::UidRange& range = {});
uid_t preferred_installer_uid(std::string_view hash, const box::UidRange& range = {});

}  // namespace mcpbox::provision
