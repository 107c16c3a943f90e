#include "box/wire/messages.h"

#include <gtest/gtest.h>

#include <random>

#include "box/wire/identify.h"

namespace mcpbox::box::wire {
namespace {

// Every message comes back as it was; every shorter or longer input is refused.
template <class T>
void check_round_trip(const T& message) {
  auto bytes = encode(message);
  ASSERT_TRUE(bytes);
  auto back = decode<T>(*bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(*back, message);
  for (std::size_t cut = 0; cut < bytes->size(); ++cut) EXPECT_FALSE(decode<T>(bytes->substr(0, cut))) << cut;
  EXPECT_EQ(decode<T>(*bytes + '\0').error().code(), Code::kDataLoss);
}

Spawn some_spawn() {
  Spawn spawn;
  spawn.id = "a-1";
  spawn.argv = {"node", "server.js", ""};
  spawn.env = {"A=1", std::string("B=\0x", 4), "C=ü"};
  spawn.cwd = "/workspace";
  spawn.uid = 1'900'000'001;
  spawn.gid = 1'900'000'002;
  spawn.nice = 5;
  spawn.oom_score_adj = 500;
  spawn.limits = {256, std::nullopt, ~0ull, 0, std::nullopt};
  spawn.server = {1, 2, ~0ull, 3, {"/workspace/.mcp/a/home"}, {"/home/me/w"}};
  spawn.ways_in = 2;
  spawn.confine = {{"/a", "/b"}, {"/c"}, {3128, 65535}, {80}};
  return spawn;
}
Exit some_exit() {
  return {3, -1, true, {LimitKind::kDisk, 1, ~0ull}, 1, ~0ull, 1 << 20};
}

struct BoolOnly {
  bool value = false;
  template <class V, class S>
  static void fields(V& v, S& s) {
    v(s.value);
  }
};

TEST(Messages, come_back_as_they_were) {
  check_round_trip(Hello{1, 7});
  check_round_trip(HelloReply{1, 7, true, 0x0123456789abcdefull, "6.1.0"});
  check_round_trip(some_spawn());
  check_round_trip(Spawn{});
  check_round_trip(SpawnReply{-5});
  check_round_trip(CloseStdin{"x", true});
  check_round_trip(Presses{"x", 1900, 4});
  check_round_trip(Forget{"x"});
  check_round_trip(Signal{"x", 9});
  check_round_trip(KillUid{7, 9, 1000});
  check_round_trip(KillUidReply{2});
  check_round_trip(Exited{"x", some_exit()});
  check_round_trip(ListReply{{{"a", 2, 3, true, std::nullopt}, {"b", 4, 5, false, some_exit()}}});
  check_round_trip(Prepare{{{"/workspace/x", 1, 2, {"home", "tmp"}}}, {{"/a", {"content"}}}});
  check_round_trip(ShareDirectory{"/p", 3});
  check_round_trip(TakeGroup{1500});
  check_round_trip(Identify{{"/home/u/w/sub"}});
  check_round_trip(IdentifyReply{{{1ull << 40, 1ull << 63, ELOOP}}});
  check_round_trip(Pack{"/p", 1, 2, {".git"}, 3, 4, 5, 6});
  check_round_trip(PackReply{1, 2, 3});
  check_round_trip(Unpack{"/p", 1, 2, true, 3, true, "/q"});
  check_round_trip(UnpackReply{1, 2});
  check_round_trip(Publish{"/a", "/b", 1});
  check_round_trip(Seal{"/a", 1});
  check_round_trip(RemoveTree{"/a", 1});
  check_round_trip(ReadFile{"/a", 100});
  check_round_trip(ReadFileReply{{std::string(1000, '\0')}});
  check_round_trip(ListDirectory{"/a", {"list"}, 7});
  check_round_trip(ListDirectoryReply{{"a", "b"}, {Blob{"content"}, std::nullopt}});
  check_round_trip(ErrorReply{3, 2, "exec 'x'", "why"});
}

TEST(Messages, without_members_take_no_bytes) {
  EXPECT_EQ(*encode(List{}), "");
  EXPECT_TRUE(decode<List>(""));
  EXPECT_FALSE(decode<List>("x"));
  EXPECT_TRUE(decode<Shutdown>(""));
  EXPECT_TRUE(decode<Done>(""));
}

TEST(Messages, are_little_endian) {
  EXPECT_EQ(*encode(Hello{1, 0x01020304}), std::string("\1\0\0\0\4\3\2\1", 8));
}

TEST(Messages, refuse_lengths_that_the_input_does_not_have) {
  EXPECT_FALSE(decode<Forget>(std::string("\xff\xff\xff\xff", 4)));
  EXPECT_FALSE(decode<ListDirectoryReply>(std::string("\xff\xff\xff\xff", 4)));
  // A count within the limit, but larger than the bytes that are there: refused before anything is made.
  EXPECT_FALSE(decode<ListReply>(std::string("\x00\x40\x00\x00", 4)));
}

TEST(Messages, refuse_what_is_larger_than_the_format_allows) {
  EXPECT_TRUE(encode(Forget{std::string(kMaxString, 'x')}));
  EXPECT_EQ(encode(Forget{std::string(kMaxString + 1, 'x')}).error().code(), Code::kInvalidArgument);
  EXPECT_TRUE(encode(ReadFileReply{{std::string(kMaxBlob, 'x')}}));
  EXPECT_FALSE(encode(ReadFileReply{{std::string(kMaxBlob + 1, 'x')}}));
  ListDirectoryReply names;
  names.names.resize(kMaxList);
  EXPECT_TRUE(encode(names));
  names.names.emplace_back();
  EXPECT_FALSE(encode(names));
  // The same from the other side: a peer that does not keep to it.
  const std::string too_long = std::string("\x01\x00\x02\x00", 4) + std::string(kMaxString + 1, 'x');
  EXPECT_FALSE(decode<Forget>(too_long));
}

TEST(Messages, know_only_two_truths) {
  EXPECT_TRUE(decode<BoolOnly>(std::string("\1", 1)));
  EXPECT_FALSE(decode<BoolOnly>(std::string("\2", 1)));
}

TEST(Messages, turn_an_unknown_code_into_an_internal_error) {
  EXPECT_EQ(code_of(make_errno_error(ENOENT, "x")), Code::kNotFound);
  EXPECT_EQ(code_of(ErrorReply{200, 0, "", ""}), Code::kInternal);
}

TEST(Frame, comes_back_from_any_cut) {
  const std::string payload = *encode(some_spawn());
  const std::string bytes =
      *encode_frame(MessageType::kSpawn, 42, 3, payload) + *encode_frame(MessageType::kList, 43, 0, "");
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    FrameReader reader;
    std::vector<std::pair<std::uint64_t, std::string>> got;
    for (const auto& part : {bytes.substr(0, cut), bytes.substr(cut)}) {
      reader.feed(part);
      while (true) {
        auto frame = reader.next();
        ASSERT_TRUE(frame);
        if (!*frame) break;
        got.emplace_back((*frame)->id, std::string((*frame)->payload));
        EXPECT_EQ((*frame)->fd_count, got.size() == 1 ? 3 : 0);
      }
    }
    ASSERT_EQ(got.size(), 2u) << cut;
    EXPECT_EQ(got[0].second, payload);
    EXPECT_EQ(got[1].first, 43u);
  }
}

TEST(Frame, refuses_hostile_headers_at_once_and_for_good) {
  const auto header = [](std::uint32_t length, int version, int fds) {
    std::string out = *encode_frame(MessageType::kList, 1, static_cast<std::uint16_t>(fds), "");
    for (int i = 0; i < 4; ++i) out[static_cast<std::size_t>(i)] = static_cast<char>(length >> (8 * i));
    out[4] = static_cast<char>(version);
    return out;
  };
  for (const std::string& bytes : {header(0, 1, 0), header(11, 1, 0), header(0xffffffff, 1, 0),
                                   header(kMaxFrame - 3, 1, 0), header(12, 2, 0), header(12, 1, kMaxFds + 1)}) {
    FrameReader reader;
    reader.feed(bytes);
    EXPECT_EQ(reader.next().error().code(), Code::kDataLoss);
    reader.feed(*encode_frame(MessageType::kList, 1, 0, ""));
    EXPECT_FALSE(reader.next());
  }
  FrameReader early;
  early.feed("\xff\xff\xff\xff");  // the length alone is enough
  EXPECT_FALSE(early.next());
}

TEST(Frame, may_be_as_large_as_the_limit_and_not_larger) {
  EXPECT_FALSE(encode_frame(MessageType::kSpawn, 1, 0, std::string(kMaxFrame - kFrameHeader + 1, 'x')));
  auto largest = encode_frame(MessageType::kSpawn, 1, 0, std::string(kMaxFrame - kFrameHeader, 'x'));
  ASSERT_TRUE(largest);
  FrameReader reader;
  reader.feed(*largest);
  auto frame = reader.next();
  ASSERT_TRUE(frame && *frame);
  EXPECT_EQ((*frame)->payload.size(), kMaxFrame - kFrameHeader);
}

}  // namespace
}  // namespace mcpbox::box::wire
