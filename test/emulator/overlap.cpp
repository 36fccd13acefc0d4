// Launches whose blocks may begin before the kernels ahead of them are complete (programmatic dependent launch). Here
// those are complete, so what reads too early would read what is right: device memory is closed to the first blocks of
// such a launch until all their threads have waited. A plain access before that ends the process by SIGSEGV.

#include "test/emulator/runtime.h"

namespace lowrank::emulator {

void begin_overlap() {
  for (const auto& block : runtime.blocks) runtime.early += block->live;
  open_memory(false);
}

void end_overlap() {
  if (runtime.early == 0) return;
  runtime.early = 0;
  open_memory(true);
}

void wait_for_kernels(Site site) {
  Thread& thread = self();
  thread.waited = true;
  if (runtime.early == 0) return;
  if (runtime.early > 1) {
    --runtime.early;
    return wait_here("griddepcontrol.wait", site);
  }
  end_overlap();
  for (const auto& block : runtime.blocks)
    for (Thread& other : block->threads)
      if (other.waited && other.state == State::Blocked) wake(other);
}

void check_waited(const char* what, Site site) {
  if (launched.overlaps && !self().waited)
    fail(site, "%s before griddepcontrol.wait, in a launch that overlaps the kernels ahead", what);
}

}  // namespace lowrank::emulator
