// Ways into a server's network: TCP sockets that are made in it, before the server runs, and connected by the
// controller.
//
// A socket belongs to the network that it was made in, whoever connects it and from wherever. So nobody has to enter a
// server's namespaces later, no process of ours stays in there, and no byte of a published port passes PID 1. Its
// seccomp filter and Landlock are the server's, and come later.
#pragma once

#include <string>

namespace mcpbox::box::init {

// By the child that becomes the server, where it will be: `count` of IPv4, and of IPv6 if this kernel has it, for PID 1
// (start_report.h). Returns 0, or errno and the step.
int make_ways_in(unsigned count, int report, std::string& step);

}  // namespace mcpbox::box::init
