# zig as compiler: clang with the headers, symbol versions and C++ library of each system it knows, so that a prebuilt
# addon needs no C library newer than the target names. scripts/prebuild.mjs sets the variables.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR $ENV{LOWRANK_ZIG_PROCESSOR})
# Dynamic, or CMake's trial programs for musl would be static, for which zig compiles all of musl first.
set(CMAKE_CXX_COMPILER $ENV{LOWRANK_ZIG} c++ -target $ENV{LOWRANK_ZIG_TARGET} -dynamic)
# No binutils of the target are needed: the linker strips.
set(CMAKE_MODULE_LINKER_FLAGS_INIT -s)
