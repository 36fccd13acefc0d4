#pragma once
// Operand lists for cuda/ptx.cuh.

// ldmatrix and stmatrix of n matrices: r[n] comes first, the address last.
#define MATRIX_NAMES_1 "%0"
#define MATRIX_NAMES_2 "%0, %1"
#define MATRIX_NAMES_4 "%0, %1, %2, %3"
#define MATRIX_ADDRESS_1 "%1"
#define MATRIX_ADDRESS_2 "%2"
#define MATRIX_ADDRESS_4 "%4"
#define MATRIX_OUT_1 "=r"(r[0])
#define MATRIX_OUT_2 MATRIX_OUT_1, "=r"(r[1])
#define MATRIX_OUT_4 MATRIX_OUT_2, "=r"(r[2]), "=r"(r[3])
#define MATRIX_IN_1 "r"(r[0])
#define MATRIX_IN_2 MATRIX_IN_1, "r"(r[1])
#define MATRIX_IN_4 MATRIX_IN_2, "r"(r[2]), "r"(r[3])

// wgmma: a product of N columns has N / 2 accumulators a thread, which come first. WGMMA_NAMES_n lists the names of n
// accumulators, WGMMA_OUT_n binds them to float d[n].

#define WGMMA_OUT8(i)                                                                                                  \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]),          \
      "+f"(d[i + 7])
#define WGMMA_NAMES_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define WGMMA_NAMES_16 WGMMA_NAMES_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_NAMES_24 WGMMA_NAMES_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define WGMMA_NAMES_32 WGMMA_NAMES_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_NAMES_40 WGMMA_NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define WGMMA_NAMES_48 WGMMA_NAMES_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_NAMES_56 WGMMA_NAMES_48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define WGMMA_NAMES_64 WGMMA_NAMES_56 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_NAMES_72 WGMMA_NAMES_64 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define WGMMA_NAMES_80 WGMMA_NAMES_72 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define WGMMA_NAMES_88 WGMMA_NAMES_80 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define WGMMA_NAMES_96 WGMMA_NAMES_88 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_NAMES_104 WGMMA_NAMES_96 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define WGMMA_NAMES_112 WGMMA_NAMES_104 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define WGMMA_NAMES_120 WGMMA_NAMES_112 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define WGMMA_NAMES_128 WGMMA_NAMES_120 ", %120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA_OUT_8 WGMMA_OUT8(0)
#define WGMMA_OUT_16 WGMMA_OUT_8, WGMMA_OUT8(8)
#define WGMMA_OUT_24 WGMMA_OUT_16, WGMMA_OUT8(16)
#define WGMMA_OUT_32 WGMMA_OUT_24, WGMMA_OUT8(24)
#define WGMMA_OUT_40 WGMMA_OUT_32, WGMMA_OUT8(32)
#define WGMMA_OUT_48 WGMMA_OUT_40, WGMMA_OUT8(40)
#define WGMMA_OUT_56 WGMMA_OUT_48, WGMMA_OUT8(48)
#define WGMMA_OUT_64 WGMMA_OUT_56, WGMMA_OUT8(56)
#define WGMMA_OUT_72 WGMMA_OUT_64, WGMMA_OUT8(64)
#define WGMMA_OUT_80 WGMMA_OUT_72, WGMMA_OUT8(72)
#define WGMMA_OUT_88 WGMMA_OUT_80, WGMMA_OUT8(80)
#define WGMMA_OUT_96 WGMMA_OUT_88, WGMMA_OUT8(88)
#define WGMMA_OUT_104 WGMMA_OUT_96, WGMMA_OUT8(96)
#define WGMMA_OUT_112 WGMMA_OUT_104, WGMMA_OUT8(104)
#define WGMMA_OUT_120 WGMMA_OUT_112, WGMMA_OUT8(112)
#define WGMMA_OUT_128 WGMMA_OUT_120, WGMMA_OUT8(120)

// EACH(N, accumulators, the numbers of the seven operands that may follow them)
#define WGMMA_SHAPES(EACH)                                                                                             \
  EACH(16, 8, 8, 9, 10, 11, 12, 13, 14)                                                                                \
  EACH(32, 16, 16, 17, 18, 19, 20, 21, 22)                                                                             \
  EACH(48, 24, 24, 25, 26, 27, 28, 29, 30)                                                                             \
  EACH(64, 32, 32, 33, 34, 35, 36, 37, 38)                                                                             \
  EACH(80, 40, 40, 41, 42, 43, 44, 45, 46)                                                                             \
  EACH(96, 48, 48, 49, 50, 51, 52, 53, 54)                                                                             \
  EACH(112, 56, 56, 57, 58, 59, 60, 61, 62)                                                                            \
  EACH(128, 64, 64, 65, 66, 67, 68, 69, 70)                                                                            \
  EACH(144, 72, 72, 73, 74, 75, 76, 77, 78)                                                                            \
  EACH(160, 80, 80, 81, 82, 83, 84, 85, 86)                                                                            \
  EACH(176, 88, 88, 89, 90, 91, 92, 93, 94)                                                                            \
  EACH(192, 96, 96, 97, 98, 99, 100, 101, 102)                                                                         \
  EACH(208, 104, 104, 105, 106, 107, 108, 109, 110)                                                                    \
  EACH(224, 112, 112, 113, 114, 115, 116, 117, 118)                                                                    \
  EACH(240, 120, 120, 121, 122, 123, 124, 125, 126)                                                                    \
  EACH(256, 128, 128, 129, 130, 131, 132, 133, 134)
