# SPDX-License-Identifier: BSD-2-Clause
# What every target of this project is compiled with, and what only its
# executables are linked with.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug or Release" FORCE)
endif()

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# shmcache_flags: linked privately by every target of the project.
add_library(shmcache_flags INTERFACE)
target_compile_definitions(shmcache_flags INTERFACE
  $<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE>)
target_compile_options(shmcache_flags INTERFACE
  -Wall -Wextra -Wconversion -Wshadow
  $<$<COMPILE_LANGUAGE:C>:-Wstrict-prototypes$<SEMICOLON>-Wmissing-prototypes>)
if(SHMC_WERROR)
  target_compile_options(shmcache_flags INTERFACE -Werror)
endif()

if(SHMC_SANITIZE)
  target_compile_definitions(shmcache_flags INTERFACE SHMC_SANITIZED=1)
  add_compile_options(-fsanitize=${SHMC_SANITIZE}
    -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${SHMC_SANITIZE})
endif()

if(SHMC_COVERAGE)
  target_compile_definitions(shmcache_flags INTERFACE SHMC_COVERAGE=1)
  # Atomic counters: several threads and forked children count.
  add_compile_options(--coverage -fprofile-update=atomic)
  add_link_options(--coverage)
endif()

# shmcache_heap: jemalloc, for our executables; the library takes whatever
# heap its host has.  Sanitizers bring their own.
add_library(shmcache_heap INTERFACE)
if(NOT SHMC_SANITIZE AND (SHMC_BUILD_TESTS OR SHMC_BUILD_TOOLS
    OR SHMC_BUILD_PERF))
  find_library(JEMALLOC_LIBRARY jemalloc REQUIRED)
  # Nothing calls it by name, so the linker must be told to keep it.
  target_link_libraries(shmcache_heap INTERFACE
    -Wl,--push-state,--no-as-needed ${JEMALLOC_LIBRARY} -Wl,--pop-state)
endif()
