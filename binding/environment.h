#pragma once
#ifndef NAPI_CPP_EXCEPTIONS
#define NAPI_CPP_EXCEPTIONS
#endif
// An error that an environment can no longer take, since it is being ended, is dropped: else the process aborts.
#define NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS
#include <napi.h>

#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "binding/handles.h"
#include "core/device.h"

namespace lowrank::js {

// Bytes of uploads that their queue has not taken over yet. Too many hold the caller up.
class Staging {
 public:
  void take(size_t bytes) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return bytes_ <= MOST; });
    bytes_ += bytes;
  }
  void give_back(size_t bytes) {
    {
      std::lock_guard lock(mutex_);
      bytes_ -= bytes;
    }
    room_.notify_one();
  }

 private:
  static constexpr size_t MOST = 64u << 20;
  std::mutex mutex_;
  std::condition_variable room_;
  size_t bytes_ = 0;
};

// Everything that belongs to one Node environment (the main thread or a worker): devices with their queues, tensor
// handles, and the way back to the JavaScript thread.
struct Environment {
  explicit Environment(Napi::Env env);
  ~Environment();
  static Environment& of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

  int open(DeviceKind kind, int index);
  Device& device(int id);
  int id_of(const Device& device) const;

  // A promise that settles when all work enqueued so far is done: with the value, or with the queue's fault.
  Napi::Value wait(Napi::Env env, Device& device, Napi::Reference<Napi::Value> value);
  void shut_down();

  Handles handles;
  Napi::FunctionReference error_class;
  Staging staging;

 private:
  struct Pending;
  void settle(Napi::Env env, Pending* pending);

  std::vector<std::unique_ptr<Device>> devices_;
  Napi::ThreadSafeFunction wake_;  // keeps the event loop alive only while a promise is pending
  std::list<Pending> pending_;
};

Napi::Error error_of(Napi::Env env, Code code, const std::string& message);

}  // namespace lowrank::js
