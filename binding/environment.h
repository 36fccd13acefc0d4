#pragma once
#ifndef NAPI_CPP_EXCEPTIONS
#define NAPI_CPP_EXCEPTIONS
#endif
#include <napi.h>

#include <atomic>
#include <memory>
#include <vector>

#include "binding/handles.h"
#include "core/device.h"

namespace lowrank::js {

// Everything that belongs to one Node environment (the main thread or a worker): devices with their queues, tensor
// handles, and the way back to the JavaScript thread.
struct Environment {
  explicit Environment(Napi::Env env);
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  int open(DeviceKind kind, int index);
  Device& device(int id);
  int id_of(const Device& device) const;

  // A promise that settles when all work enqueued so far is done: with the value, or with the queue's fault.
  Napi::Value wait(Napi::Env env, Device& device, Napi::Reference<Napi::Value> value);
  void shut_down();

  Handles handles;
  Napi::FunctionReference error_class;
  std::atomic<size_t> staged{0};  // bytes of uploads not yet taken over by their queue

 private:
  struct Pending;
  void settle(Napi::Env env, Pending* pending);

  std::vector<std::unique_ptr<Device>> devices_;
  Napi::ThreadSafeFunction wake_;  // keeps the event loop alive only while a promise is pending
  int pending_ = 0;
};

Napi::Error error_of(Napi::Env env, Code code, const std::string& message);

}  // namespace lowrank::js
