#pragma once
#include <vector>

namespace lowrank::cpu {

// Each one includes those before it of the same architecture. Avx512 is F, BW, VL and DQ; Amx has tiles of bf16;
// NeonBf16 has bfmmla.
enum class Isa { Portable, Avx2, Avx512, Avx512Bf16, Amx, Neon, NeonBf16 };

// The best this machine has, or what LOWRANK_ISA=portable|avx2|avx512|avx512bf16|amx|neon|neonbf16 asks for; chosen at
// the first call. Throws ERR_OPTION for an unknown name and ERR_UNSUPPORTED for one that the machine lacks.
Isa isa();
// The name of isa(), spelled as in LOWRANK_ISA.
const char* isa_name();
// The names of all that this machine has, the best last, whatever LOWRANK_ISA says.
std::vector<const char*> isa_names();
// Changes isa(); null or "" goes back to LOWRANK_ISA or the best. For tests: call it while no kernel runs.
void set_isa(const char* name);

}  // namespace lowrank::cpu
