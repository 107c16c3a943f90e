# What a staged folder and a command line can say to the planner.
mcpbox_fuzzer(workspace_text_fuzz ${CMAKE_CURRENT_LIST_DIR}/workspace_text_fuzz.cc)
target_link_libraries(workspace_text_fuzz PRIVATE mcpbox_workspace)
