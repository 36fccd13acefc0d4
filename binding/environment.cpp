#include "binding/environment.h"

#include <algorithm>
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
  napi_add_env_cleanup_hook(
      env, [](void* self) { static_cast<Environment*>(self)->shut_down(); }, this);
}

Environment::~Environment() = default;

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
  pending_.push_back({Napi::Promise::Deferred::New(env), std::move(value), {}});
  Pending* pending = &pending_.back();
  try {
    device.queue.after([this, pending](const Fault* fault) {
      if (fault) pending->fault = *fault;
      wake_.NonBlockingCall(pending, [this](Napi::Env env, Napi::Function, Pending* done) {
        // An environment that is being ended refuses every call: nobody is left to hear, and an error that leaves this
        // callback would end the process with it.
        try {
          settle(env, done);
        } catch (const Napi::Error&) {
        }
      });
    });
  } catch (...) {
    pending_.pop_back();
    throw;
  }
  if (pending_.size() == 1) wake_.Ref(env);
  return pending->deferred.Promise();
}

void Environment::settle(Napi::Env env, Pending* pending) {
  const auto at = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& p) { return &p == pending; });
  if (at == pending_.end()) return;
  std::list<Pending> done;
  done.splice(done.end(), pending_, at);
  if (pending_.empty()) wake_.Unref(env);
  if (pending->fault) pending->deferred.Reject(error_of(env, pending->fault->code, pending->fault->message).Value());
  else pending->deferred.Resolve(pending->value.IsEmpty() ? env.Undefined() : pending->value.Value());
}

// On the JavaScript thread, while references can still be released.
void Environment::shut_down() {
  for (auto& device : devices_) device->queue.stop();
  pending_.clear();
  handles.clear();
  devices_.clear();
}

}  // namespace lowrank::js
