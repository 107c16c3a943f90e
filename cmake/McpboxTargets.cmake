# One static library per folder of src/; its DEPENDS list is the layering. scripts/check-layers compares the includes with it.

# mcpbox_library(NAME box SUBFOLDERS link DEPENDS base sys PRIVATE_LIBS CURL::libcurl): the *.cc files of the folder, and of those folders in it
# that are no layer of their own, as target mcpbox_<NAME>.
function(mcpbox_library)
  cmake_parse_arguments(ARG "ASIO" "NAME" "SUBFOLDERS;DEPENDS;LIBS;PRIVATE_LIBS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  foreach(subfolder IN LISTS ARG_SUBFOLDERS)
    file(GLOB more CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${subfolder}/*.cc)
    list(APPEND sources ${more})
  endforeach()
  if(NOT sources)
    # A folder of headers only.
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/empty.cc "")
    set(sources ${CMAKE_CURRENT_BINARY_DIR}/empty.cc)
  endif()
  add_library(mcpbox_${ARG_NAME} STATIC ${sources})
  target_link_libraries(mcpbox_${ARG_NAME} PUBLIC mcpbox_flags ${ARG_LIBS} PRIVATE ${ARG_PRIVATE_LIBS})
  foreach(dep IN LISTS ARG_DEPENDS)
    target_link_libraries(mcpbox_${ARG_NAME} PUBLIC mcpbox_${dep})
  endforeach()
  if(ARG_ASIO)
    target_link_libraries(mcpbox_${ARG_NAME} PUBLIC mcpbox_asio_flags)
  endif()
endfunction()

# mcpbox_test(NAME unit_mcp KIND unit DEPENDS mcp [LIBS …]): the folder's *_test.cc files as one GoogleTest program.
# ctest label = KIND, so that `ctest -L unit` needs no engine.
function(mcpbox_test)
  cmake_parse_arguments(ARG "" "NAME;KIND;TIMEOUT" "DEPENDS;LIBS;ENV" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  if(NOT sources)
    return()
  endif()
  add_executable(${ARG_NAME} ${sources})
  target_include_directories(${ARG_NAME} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
  foreach(dep IN LISTS ARG_DEPENDS)
    target_link_libraries(${ARG_NAME} PRIVATE mcpbox_${dep})
  endforeach()
  target_link_libraries(${ARG_NAME} PRIVATE mcpbox_flags mcpbox_link_flags GTest::gmock GTest::gtest_main ${ARG_LIBS})
  set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME} --gtest_brief=1)
  set_tests_properties(${ARG_NAME} PROPERTIES LABELS "${ARG_KIND}" TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "MCPBOX_BUILD_DIR=${CMAKE_BINARY_DIR};MCPBOX_SOURCE_DIR=${CMAKE_SOURCE_DIR};${ARG_ENV}")
endfunction()
