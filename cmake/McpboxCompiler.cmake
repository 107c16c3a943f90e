# The compiler, its warnings and its hardening flags.
#
# g++ 12 destroys temporaries in a co_await expression twice, silently: it builds programs that corrupt their heap.
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  message(FATAL_ERROR "g++ ${CMAKE_CXX_COMPILER_VERSION} miscompiles coroutines. Use clang 19 "
    "(Debian 12: apt-get install clang-19; cmake --preset release) or g++ 13 and newer.")
endif()

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(MCPBOX_SANITIZE "" CACHE STRING "Sanitizers, separated by ';'")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

add_library(mcpbox_flags INTERFACE)
target_include_directories(mcpbox_flags INTERFACE ${CMAKE_SOURCE_DIR}/src)
target_compile_options(mcpbox_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Wnull-dereference -Wimplicit-fallthrough
  -Wno-missing-field-initializers -Werror=return-type -Werror=unused-result -Werror=switch
  -fstack-protector-strong -fstack-clash-protection -fcf-protection -fno-plt)
target_compile_definitions(mcpbox_flags INTERFACE _GLIBCXX_ASSERTIONS _FILE_OFFSET_BITS=64
  MCPBOX_VERSION="${PROJECT_VERSION}")
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_options(mcpbox_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # -fstack-clash-protection and friends are accepted on every target we build for, but not used at link time.
  target_compile_options(mcpbox_flags INTERFACE -Wno-unused-command-line-argument)
endif()

# Asio and Beast in their own translation unit: the same macros must hold everywhere (one definition rule).
add_library(mcpbox_asio_flags INTERFACE)
target_compile_definitions(mcpbox_asio_flags INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED
  BOOST_ASIO_DISABLE_VISIBILITY)
target_link_libraries(mcpbox_asio_flags INTERFACE Boost::headers Threads::Threads)

add_library(mcpbox_link_flags INTERFACE)
find_program(LLD_PROGRAM NAMES ld.lld-19 ld.lld)
if(LLD_PROGRAM AND CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_link_options(mcpbox_link_flags INTERFACE --ld-path=${LLD_PROGRAM})
endif()
target_link_options(mcpbox_link_flags INTERFACE -Wl,-z,relro,-z,now -Wl,-z,noexecstack)

if(MCPBOX_SANITIZE)
  list(JOIN MCPBOX_SANITIZE "," sanitizers)
  target_compile_options(mcpbox_flags INTERFACE -fsanitize=${sanitizers} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(mcpbox_link_flags INTERFACE -fsanitize=${sanitizers})
  # vptr needs RTTI of libraries that we do not build. The others double the compile time, and the address sanitizer or the processor
  # notices most of what they would (a null or misaligned access ends the program).
  if("undefined" IN_LIST MCPBOX_SANITIZE)
    target_compile_options(mcpbox_flags INTERFACE -fno-sanitize=vptr,null,alignment,object-size,nonnull-attribute,returns-nonnull-attribute)
  endif()
endif()
