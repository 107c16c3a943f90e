# The link between mcpbox and mcpbox-init, both directions, and the archive of staged trees.
mcpbox_fuzzer(wire_controller_fuzz ${CMAKE_CURRENT_LIST_DIR}/wire_controller_fuzz.cc)
target_link_libraries(wire_controller_fuzz PRIVATE mcpbox_box)
mcpbox_fuzzer(wire_init_fuzz ${CMAKE_CURRENT_LIST_DIR}/wire_init_fuzz.cc)
target_link_libraries(wire_init_fuzz PRIVATE mcpbox_box_init)
mcpbox_fuzzer(stage_stream_fuzz ${CMAKE_CURRENT_LIST_DIR}/stage_stream_fuzz.cc)
target_link_libraries(stage_stream_fuzz PRIVATE mcpbox_box_wire)
mcpbox_fuzzer(build_spec_fuzz ${CMAKE_CURRENT_LIST_DIR}/build_spec_fuzz.cc)
target_link_libraries(build_spec_fuzz PRIVATE mcpbox_box_wire)
