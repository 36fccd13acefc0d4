// Scratch of ops: one holder at a time, counted before it is lent.
#include "test/kernels/kernel_case.cuh"

#ifdef LOWRANK_EMULATOR
#include <unistd.h>
#endif

namespace lowrank::testing {

using cuda::Owner;
using cuda::Scratch;

KERNEL_CASE(scratch_has_one_holder_at_a_time) {
  {
    Scratch first(Owner::Losses), other(Owner::Losses, 1), again(Owner::Losses);
    void* const memory = first.take_bytes(100);
    expect(memory != other.take_bytes(100), "two that are held are apart");
    std::string message;
    try {
      again.take_bytes(8);
    } catch (const Error& error) {
      message = error.what();
    }
    expect(message.find("holds some already") != std::string::npos, "asked for twice: \"" + message + "\"");
  }
  Scratch later(Owner::Losses);
  expect(later.take_bytes(8) != nullptr, "what was given back may be held again");
}

KERNEL_CASE(scratch_is_nobodys_after_its_holder) {
#ifdef LOWRANK_EMULATOR
  void* memory = nullptr;
  {
    Scratch space(Owner::Sums);
    memory = space.take_bytes(64);
  }
  int ends[2];
  expect(pipe(ends) == 0, "a pipe");
  const bool readable = write(ends[1], memory, 1) == 1;
  close(ends[0]), close(ends[1]);
  expect(!readable, "scratch was read after its end");
#endif
}

// What is measured is what the call then takes, launches and no more.
KERNEL_CASE(scratch_is_measured) {
  OnDevice y(DType::F32, {1}), x(DType::F32, {1000}, Values(1000, 0.5));
  auto call = [&] { cuda::sum(y, x); };
  const auto run = [](void* f) { (*static_cast<decltype(call)*>(f))(); };
  const Needs needs = cuda::measure(0, run, &call);
  expect(needs.launches == 1, "launches: " + std::to_string(needs.launches));
  expect(needs.scratch > 0 && needs.scratch % 256 == 0, "bytes: " + std::to_string(needs.scratch));
  std::vector<char> memory(512);
  expect(std::isnan(y.read()[0]), "measuring runs nothing");
  cuda::lend(memory.data(), 1);
  std::string message;
  try {
    call();
  } catch (const Error& error) {
    message = error.what();
  }
  cuda::lend(nullptr, 0);
  expect(message.find("were measured") != std::string::npos, "more than was lent: \"" + message + "\"");
  call();
  expect_close("sum", y.read(), {500}, 1e-6);
}

}  // namespace lowrank::testing
