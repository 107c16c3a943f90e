#include "egress/rules/ip_address.h"

#include <gtest/gtest.h>

#include "egress/rules/destination.h"
#include "support/said_to_options.h"

namespace mcpbox::egress {
namespace {

AddressClass kind(std::string_view text) {
  return classify(*IpAddress::parse(text));
}

TEST(Egress, case_47_every_address_that_is_not_public_is_known) {
  const std::pair<const char*, AddressClass> cases[] = {
      {"0.0.0.0", AddressClass::kUnspecified},
      {"0.1.2.3", AddressClass::kUnspecified},
      {"10.255.255.255", AddressClass::kPrivate},
      {"100.64.0.1", AddressClass::kCgnat},
      {"100.127.255.255", AddressClass::kCgnat},
      {"100.128.0.0", AddressClass::kPublic},
      {"127.0.0.1", AddressClass::kLoopback},
      {"127.255.1.2", AddressClass::kLoopback},
      {"169.254.1.1", AddressClass::kLinkLocal},
      {"169.254.169.254", AddressClass::kMetadata},
      {"172.15.255.255", AddressClass::kPublic},
      {"172.16.0.0", AddressClass::kPrivate},
      {"172.31.255.255", AddressClass::kPrivate},
      {"172.32.0.0", AddressClass::kPublic},
      {"192.0.0.8", AddressClass::kReserved},
      {"192.0.2.1", AddressClass::kDocumentation},
      {"192.168.1.1", AddressClass::kPrivate},
      {"198.18.0.1", AddressClass::kBenchmark},
      {"198.19.255.255", AddressClass::kBenchmark},
      {"198.20.0.0", AddressClass::kPublic},
      {"198.51.100.9", AddressClass::kDocumentation},
      {"203.0.113.9", AddressClass::kDocumentation},
      {"224.0.0.1", AddressClass::kMulticast},
      {"239.1.1.1", AddressClass::kMulticast},
      {"240.0.0.1", AddressClass::kReserved},
      {"255.255.255.255", AddressClass::kMulticast},
      {"8.8.8.8", AddressClass::kPublic},
      {"::", AddressClass::kUnspecified},
      {"::1", AddressClass::kLoopback},
      {"::127.0.0.1", AddressClass::kReserved},
      {"fe80::1", AddressClass::kLinkLocal},
      {"febf::1", AddressClass::kLinkLocal},
      {"fec0::1", AddressClass::kPrivate},
      {"fc00::1", AddressClass::kPrivate},
      {"fdff::1", AddressClass::kPrivate},
      {"ff02::1", AddressClass::kMulticast},
      {"2001:db8::1", AddressClass::kDocumentation},
      {"3fff:1::", AddressClass::kDocumentation},
      {"fd00:ec2::254", AddressClass::kMetadata},
      {"2606:4700::1111", AddressClass::kPublic},
      {"4000::1", AddressClass::kReserved},
      {"100::1", AddressClass::kReserved},
      {"2001:2::1", AddressClass::kBenchmark},
      {"2001:10::1", AddressClass::kReserved},
      {"5f00::1", AddressClass::kReserved},
  };
  for (const auto& [text, expected] : cases)
    EXPECT_EQ(kind(text), expected) << text << " is " << class_name(kind(text));
}

TEST(Egress, case_47_an_embedded_address_counts) {
  EXPECT_EQ(kind("::ffff:10.0.0.1"), AddressClass::kPrivate);
  EXPECT_EQ(kind("::ffff:169.254.169.254"), AddressClass::kMetadata);
  EXPECT_EQ(kind("::ffff:8.8.8.8"), AddressClass::kPublic);
  EXPECT_EQ(kind("64:ff9b::7f00:1"), AddressClass::kLoopback);
  EXPECT_EQ(kind("64:ff9b::808:808"), AddressClass::kPublic);
  EXPECT_EQ(kind("64:ff9b:1::a00:1"), AddressClass::kReserved);
  EXPECT_EQ(kind("2002:a00:1::"), AddressClass::kPrivate);
  EXPECT_EQ(kind("2002:808:808::1"), AddressClass::kPublic);
  // Teredo: server 10.0.0.1; then a public server and client 192.168.0.1 with its bits flipped.
  EXPECT_EQ(kind("2001:0:a00:1::f7f7:f7f7"), AddressClass::kPrivate);
  EXPECT_EQ(kind("2001:0:808:808::3f57:fffe"), AddressClass::kPrivate);
  EXPECT_EQ(kind("2606:4700::5efe:7f00:1"), AddressClass::kLoopback);
}

TEST(IpAddress, reads_canonical_notations_only) {
  for (const char* text : {"",
                           "1",
                           "1.2.3",
                           "01.2.3.4",
                           "0x1.2.3.4",
                           "1.2.3.4 ",
                           "::1%lo",
                           "1.2.3.4/8",
                           "[::1]",
                           "1.2.3.256",
                           "0177.0.0.1",
                           "1.2",
                           "127.1",
                           "2130706433",
                           "0x7f000001",
                           "1.2.3.4.5",
                           " 1.2.3.4",
                           "1.2.3.4%1",
                           "fe80::1%1",
                           "::ffff:1.2.3.4%1",
                           "::ffff:01.2.3.4",
                           "1::2::3",
                           "12345::",
                           "1:2:3:4:5:6:7:8:9",
                           ":",
                           "%"})
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  EXPECT_FALSE(IpAddress::parse(std::string_view("1.2.3.4\0", 8)));
  EXPECT_FALSE(IpAddress::parse(std::string_view("::1\0", 4)));
  EXPECT_FALSE(IpAddress::parse(std::string(100, '1')));
  EXPECT_EQ(IpAddress::parse("::FFFF:1.2.3.4")->text(), "::ffff:1.2.3.4");
  EXPECT_EQ(IpAddress::parse("::ffff:102:304")->unmapped().text(), "1.2.3.4");
}

TEST(Cidr, refuses_what_is_no_range) {
  for (const char* text :
       {"", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "::1/129", "a/8",
        "10.0.0.0/4294967304", "10.0.0.0/+8", "10.0.0.1/31", "fd00::1/127", "::ffff:0:0/96", "::ffff:10.0.0.0/104"}) {
    EXPECT_FALSE(Cidr::parse(text)) << text;
  }
  EXPECT_TRUE(Cidr::parse("10.0.0.0/8")->contains(*IpAddress::parse("10.255.0.1")));
  EXPECT_TRUE(Cidr::parse("10.0.0.0/8")->contains(*IpAddress::parse("::ffff:10.1.1.1")));
  EXPECT_FALSE(Cidr::parse("10.0.0.0/8")->contains(*IpAddress::parse("11.0.0.1")));
  EXPECT_FALSE(Cidr::parse("0.0.0.0/0")->contains(*IpAddress::parse("::1")));
  EXPECT_TRUE(Cidr::parse("fd00::/9")->contains(*IpAddress::parse("fd7f::1")));
  EXPECT_FALSE(Cidr::parse("fd00::/9")->contains(*IpAddress::parse("fd80::1")));
}

TEST(Destinations, open_a_private_address_only_where_a_rule_names_it_too) {
  NetworkSettings settings;
  settings.allow_private = {*Cidr::parse("10.1.0.0/16"), *Cidr::parse("169.254.0.0/16"), *Cidr::parse("0.0.0.0/8")};
  Destinations destinations(settings);
  EXPECT_TRUE(destinations.check(*IpAddress::parse("10.1.2.3"), Trust::kNamed));
  EXPECT_FALSE(destinations.check(*IpAddress::parse("10.1.2.3"), Trust::kPublic));
  EXPECT_FALSE(destinations.check(*IpAddress::parse("10.2.2.3"), Trust::kNamed));
  EXPECT_FALSE(destinations.check(*IpAddress::parse("169.254.169.254"), Trust::kNamed)) << "metadata is never open";
  EXPECT_FALSE(destinations.check(*IpAddress::parse("0.0.0.0"), Trust::kNamed));
  EXPECT_TRUE(destinations.check(*IpAddress::parse("8.8.8.8"), Trust::kPublic));
}

TEST(Destinations, lets_registries_of_the_users_settings_have_private_and_reserved_addresses_and_no_worse_ones) {
  Destinations destinations;
  for (const char* mirror :
       {"10.1.2.3", "192.168.7.1", "100.64.0.9", "203.0.113.7", "198.18.0.1", "fd00::5", "8.8.8.8"}) {
    EXPECT_TRUE(destinations.check(*IpAddress::parse(mirror), Trust::kRegistry)) << mirror;
  }
  for (const char* never : {"127.0.0.1", "::1", "169.254.1.1", "fe80::1", "169.254.169.254", "224.0.0.1",
                            "255.255.255.255", "0.0.0.0", "::ffff:127.0.0.1", "64:ff9b::7f00:1"}) {
    EXPECT_FALSE(destinations.check(*IpAddress::parse(never), Trust::kRegistry)) << never;
  }
  EXPECT_FALSE(destinations.check(*IpAddress::parse("203.0.113.7"), Trust::kNamed))
      << "the strict rule stays for a rule of the run phase";
}

TEST(Destinations, says_what_to_write_to_open_a_private_address) {
  Destinations destinations;
  EXPECT_EQ(destinations.check(*IpAddress::parse("10.1.2.3"), Trust::kNamed).error().message(),
            "10.1.2.3 is a private address; if servers shall reach it, add `egress.allow_private: [10.1.2.3]` to the "
            "configuration");
  EXPECT_TRUE(destinations.check(*IpAddress::parse("10.1.2.3"), Trust::kPublic)
                  .error()
                  .message()
                  .ends_with("and a rule that names exactly this host"));
  const test::SaidToOptions said;
  EXPECT_EQ(destinations.check(*IpAddress::parse("10.1.2.3"), Trust::kNamed).error().message(),
            "10.1.2.3 is a private address; if servers shall reach it, run with `--allow-private 10.1.2.3`");
}

TEST(HostAddresses, know_the_loopback_interface) {
  HostAddresses own;
  EXPECT_TRUE(own.contains(*IpAddress::parse("127.0.0.1")));
  EXPECT_TRUE(own.contains(*IpAddress::parse("::ffff:127.0.0.1")));
  EXPECT_FALSE(own.contains(*IpAddress::parse("192.0.2.77")));
}

TEST(UpstreamProxy, keeps_its_password_out_of_messages) {
  const auto proxy = UpstreamProxy::parse("http://user:pass@proxy.corp:3128/");
  ASSERT_TRUE(proxy);
  EXPECT_EQ(proxy->address.host.name, "proxy.corp");
  EXPECT_EQ(proxy->authorization.reveal(), "Basic dXNlcjpwYXNz");
  // The password is the one that was escaped for the URL.
  EXPECT_EQ(UpstreamProxy::parse("http://user:p%61ss@proxy.corp:3128")->authorization.reveal(), "Basic dXNlcjpwYXNz");
  EXPECT_EQ(UpstreamProxy::parse("http://user@proxy.corp:3128")->authorization.reveal(), "Basic dXNlcjo=");
  for (const char* text : {"http://proxy.corp", "http://proxy.corp:0", "http://proxy.corp:3128/x", "http://:3128",
                           "https://proxy.corp:3128", "proxy.corp:3128", "http://2130706433:80", "http://127.1:80"}) {
    EXPECT_FALSE(UpstreamProxy::parse(text)) << text;
  }
  const auto wrong = UpstreamProxy::parse("http://user:hunter2@proxy corp");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().message().find("hunter2"), std::string::npos);
}

}  // namespace
}  // namespace mcpbox::egress
