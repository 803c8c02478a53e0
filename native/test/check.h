#pragma once
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "../kernels/dispatch.h"

// A test harness of a page: TEST registers, CHECK counts, runTests runs all and prints what failed.
// Every test that needs kernels runs once for each instruction set of this machine; the others print "skip".

namespace noisefloor::test {

struct Registration {
  Registration(const char* name, void (*body)());
  Registration(const char* name, void (*body)(Isa));
};

void checked(bool passed, const char* file, int line, const std::string& what);

/// Runs everything registered; the exit code of the process.
int runTests();

}  // namespace noisefloor::test

#define CHECK(condition) noisefloor::test::checked((condition), __FILE__, __LINE__, #condition)
#define CHECK_WHAT(condition, what) noisefloor::test::checked((condition), __FILE__, __LINE__, (what))
#define TEST(name)                                                                  \
  static void name();                                                               \
  static const noisefloor::test::Registration name##Registration(#name, name);      \
  static void name()
#define TEST_ISA(name)                                                              \
  static void name(noisefloor::Isa isa);                                            \
  static const noisefloor::test::Registration name##Registration(#name, name);      \
  static void name(noisefloor::Isa isa)
