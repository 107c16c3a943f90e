# What a sandboxed process can say to the egress proxy, and what people write into a policy.
foreach(name egress_head_fuzz egress_hello_fuzz egress_policy_fuzz)
  mcpbox_fuzzer(${name} ${CMAKE_CURRENT_LIST_DIR}/${name}.cc)
  target_link_libraries(${name} PRIVATE mcpbox_egress_proxy)
endforeach()
