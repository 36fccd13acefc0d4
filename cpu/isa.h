#pragma once

namespace lowrank::cpu {

// Ordered: each one includes those before it. Avx512 is F, BW, VL and DQ.
enum class Isa { Portable, Avx2, Avx512, Avx512Bf16 };

// The best this machine has, or what LOWRANK_ISA=portable|avx2|avx512|avx512bf16 asks for; chosen at the first call.
// Throws ERR_OPTION for an unknown name and ERR_UNSUPPORTED for one that the machine lacks.
Isa isa();
// The name of isa(), spelled as in LOWRANK_ISA.
const char* isa_name();
// The best this machine has, whatever LOWRANK_ISA says.
Isa best_isa();
// Changes isa(); null or "" goes back to LOWRANK_ISA or the best. For tests: call it while no kernel runs.
void set_isa(const char* name);

}  // namespace lowrank::cpu
