#include "binding/environment.h"

#include <optional>

namespace lowrank::js {

struct Environment::Pending {
  Napi::Promise::Deferred deferred;
  Napi::Reference<Napi::Value> value;
  std::optional<Fault> fault;
};

Napi::Error error_of(Napi::Env env, Code code, const std::string& message) {
  auto& constructor = Environment::of(env).error_class;
  if (!constructor.IsEmpty()) {
    auto made = constructor.New({Napi::String::New(env, name_of(code)), Napi::String::New(env, message)});
    return Napi::Error(env, made);
  }
  auto error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, name_of(code)));
  return error;
}

Environment::Environment(Napi::Env env) {
  auto nothing = Napi::Function::New(env, [](const Napi::CallbackInfo&) {});
  wake_ = Napi::ThreadSafeFunction::New(env, nothing, "lowrank", 0, 1);
  wake_.Unref(env);
  // Hooks run last in, first out: the executors are joined before the function they call is torn down.
  napi_add_env_cleanup_hook(env, [](void* self) { static_cast<Environment*>(self)->shut_down(); }, this);
}

int Environment::open(DeviceKind kind, int index) {
  for (size_t i = 0; i < devices_.size(); ++i)
    if (devices_[i]->kind == kind && devices_[i]->index == index) return int(i);
  devices_.push_back(std::make_unique<Device>(kind, index));
  return int(devices_.size()) - 1;
}

Device& Environment::device(int id) {
  check(id >= 0 && size_t(id) < devices_.size(), Code::Device, "device: no open device has id ", id);
  return *devices_[id];
}

int Environment::id_of(const Device& device) const {
  for (size_t i = 0; i < devices_.size(); ++i)
    if (devices_[i].get() == &device) return int(i);
  return -1;
}

Napi::Value Environment::wait(Napi::Env env, Device& device, Napi::Reference<Napi::Value> value) {
  auto* pending = new Pending{Napi::Promise::Deferred::New(env), std::move(value), {}};
  auto promise = pending->deferred.Promise();
  if (pending_++ == 0) wake_.Ref(env);
  device.queue.after([this, pending](const Fault* fault) {
    if (fault) pending->fault = *fault;
    wake_.NonBlockingCall(pending, [this](Napi::Env env, Napi::Function, Pending* done) { settle(env, done); });
  });
  return promise;
}

void Environment::settle(Napi::Env env, Pending* pending) {
  std::unique_ptr<Pending> owned(pending);
  if (--pending_ == 0) wake_.Unref(env);
  if (owned->fault)
    owned->deferred.Reject(error_of(env, owned->fault->code, owned->fault->message).Value());
  else
    owned->deferred.Resolve(owned->value.IsEmpty() ? env.Undefined() : owned->value.Value());
}

void Environment::shut_down() {
  for (auto& device : devices_) device->queue.stop();
  handles.clear();
  devices_.clear();
}

}  // namespace lowrank::js
