#include <cstring>

#include "binding/file_region.h"
#include "binding/marshal.h"
#ifdef LOWRANK_HAS_CUDA
#include "cuda/info.h"
#endif

namespace lowrank::js {
namespace {

Napi::Value initialize(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    check(info[0].IsFunction(), Code::Option, "native call: initialize expects the error class");
    Environment::of(info.Env()).error_class = Napi::Persistent(info[0].As<Napi::Function>());
    return info.Env().Undefined();
  });
}

Napi::Value open_device(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    check(info[0].IsString(), Code::Device, "device: expected cpu, cuda or meta");
    const std::string kind = info[0].As<Napi::String>();
    check(kind == "cpu" || kind == "cuda" || kind == "meta", Code::Device, "device: \"", kind,
          "\" is unknown; use cpu, cuda or meta");
    const int index = From<int>::get(info[1]);
    const auto which = kind == "cuda" ? DeviceKind::Cuda : kind == "meta" ? DeviceKind::Meta : DeviceKind::Cpu;
    return to(info.Env(), double(Environment::of(info.Env()).open(which, index)));
  });
}

Tensor empty(Device& device, DType dtype, Shape shape) { return Tensor::empty(device, shape, dtype); }

// view(tensor, offset, shape): a part of its memory, `offset` in elements. The shape is read first: an array may run
// JavaScript when its elements are read, and that may dispose of the tensor.
Napi::Value view(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    const Shape shape = From<Shape>::get(info[2]);
    const auto offset = From<double>::get(info[1]);
    Tensor t = From<Tensor>::get(info[0]);
    shape.check_fits("view", t.dtype);
    const bool inside = offset >= 0 && offset <= double(t.size()) && offset == std::floor(offset) &&
                        shape.size() <= t.size() - int64_t(offset);
    check(inside, Code::Shape, "view: ", shape, " at ", offset, " is outside ", t.shape);
    check(!is_quantized(t.dtype) || shape == t.shape, Code::Unsupported, "view: ", shape, " of ", t.shape, " as ",
          name_of(t.dtype), "; a quantised weight has no parts, dequantize it first");
    t.shape = shape;
    t.offset += size_t(offset) * bytes_of(t.dtype);
    return to(info.Env(), std::move(t));
  });
}

struct Bytes {
  const char* data;
  size_t length;
};

Bytes bytes_of_view(const Napi::Value& v) {
  check(v.IsTypedArray(), Code::Option, "upload: expected a typed array");
  // Not through its ArrayBuffer, which may be a SharedArrayBuffer.
  napi_typedarray_type type;
  void* data = nullptr;
  check(napi_get_typedarray_info(v.Env(), v, &type, nullptr, &data, nullptr, nullptr) == napi_ok, Code::Option,
        "upload: the typed array can't be read");
  return {static_cast<const char*>(data), v.As<Napi::TypedArray>().ByteLength()};
}

// Host memory on its way to a device.
struct Staged {
  Staged(Staging& staging, const Bytes& bytes) : staging(&staging), length(bytes.length), data(new char[length]) {
    std::memcpy(data.get(), bytes.data, length);
    staging.take(length);
  }
  Staged(Staged&& other) = default;
  ~Staged() {
    if (data) staging->give_back(length);
  }

  Staging* staging;
  size_t length;
  std::unique_ptr<char[]> data;
};

void check_upload(const char* op, const Tensor& target, size_t bytes, DType dtype) {
  check(!is_quantized(dtype) || is_blocks(dtype) || dtype == target.dtype, Code::DType, op, ": ", name_of(dtype),
        " for a tensor of ", name_of(target.dtype), "; dequantize it after the upload");
  check(bytes_of(dtype, target.shape) == bytes, Code::Shape, op, ": ", bytes, " bytes of ", name_of(dtype),
        " for a tensor of ", target.shape);
}

// upload(tensor, typedArray, dtype): the bytes hold `dtype`, and are converted where the tensor's differs.
Napi::Value upload(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const Tensor& target = From<Tensor>::get(info[0]);
    const Bytes bytes = bytes_of_view(info[1]);
    const auto dtype = From<DType>::get(info[2]);
    check_upload("upload", target, bytes.length, dtype);
    Device& device = target.device();
    const Tensor landing = dtype == target.dtype ? target : Tensor::empty(device, target.shape, dtype);
    if (device.kind != DeviceKind::Meta && bytes.length > 0)
      device.queue.push("upload",
                        [staged = Staged(Environment::of(info.Env()).staging, bytes), to = landing.view().data,
                         copy = device.backend.upload] { copy(to, staged.data.get(), staged.length); });
    if (dtype != target.dtype) ops::copy_into(target, landing);
    return info.Env().Undefined();
  });
}

// uploadFile(tensor, file descriptor, position, bytes, file size, dtype): the same from a file, past JavaScript's
// memory. False, and nothing uploaded, where a float is NaN or infinite.
bool upload_file(const Tensor& target, int file, int64_t position, int64_t bytes, int64_t file_size, DType dtype) {
  check_upload("uploadFile", target, size_t(bytes), dtype);
  FileRegion region(file, position, bytes, file_size);
  if (!is_finite(region, dtype)) return false;
  Device& device = target.device();
  const Tensor landing = dtype == target.dtype ? target : Tensor::empty(device, target.shape, dtype);
  if (device.kind != DeviceKind::Meta)
    device.queue.push("upload", [region = std::move(region), to = static_cast<char*>(landing.view().data),
                                 copy = device.backend.upload] {
      region.each_piece([&](const char* data, int64_t at, size_t count) {
        copy(to + at, data, count);
        return true;
      });
    });
  if (dtype != target.dtype) ops::copy_into(target, landing);
  return true;
}

// Through the constructor, which throws where there is no memory; Node-API's own call ends the process.
Napi::ArrayBuffer new_buffer(Napi::Env env, size_t bytes) {
  try {
    const auto constructor = env.Global().Get("ArrayBuffer").As<Napi::Function>();
    return constructor.New({Napi::Number::New(env, double(bytes))}).As<Napi::ArrayBuffer>();
  } catch (const Napi::Error&) {
    throw Error(Code::Memory, "read: JavaScript has no memory for " + std::to_string(bytes) + " bytes");
  }
}

// read(tensor): a promise of its bytes.
Napi::Value read(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const Tensor& t = From<Tensor>::get(info[0]);
    Device& device = t.device();
    check(device.kind != DeviceKind::Meta, Code::Device, "read: the meta device holds no data");
    auto buffer = new_buffer(info.Env(), t.bytes());
    if (t.bytes() > 0)
      device.queue.push("read", [to = buffer.Data(), from = t.view().data, bytes = t.bytes(),
                                 copy = device.backend.download] { copy(to, from, bytes); });
    return Environment::of(info.Env()).wait(info.Env(), device, Napi::Reference<Napi::Value>::New(buffer, 1));
  });
}

Napi::Value wait(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    auto& environment = Environment::of(info.Env());
    return environment.wait(info.Env(), From<Device>::get(info[0]), {});
  });
}

Napi::Value shape(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const Tensor& t = From<Tensor>::get(info[0]);
    auto array = Napi::Array::New(info.Env(), size_t(t.shape.rank));
    for (int i = 0; i < t.shape.rank; ++i) array.Set(uint32_t(i), double(t.shape[i]));
    return array;
  });
}

Napi::Value device_of(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] {
    return to(info.Env(), double(Environment::of(info.Env()).id_of(From<Tensor>::get(info[0]).device())));
  });
}

Napi::Value drop(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    Environment::of(info.Env()).handles.drop(From<double>::get(info[0]));
    return info.Env().Undefined();
  });
}

Napi::Value live(const Napi::CallbackInfo& info) {
  return to(info.Env(), double(Environment::of(info.Env()).handles.live()));
}

Napi::Value memory(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&]() -> Napi::Value {
    const Device& device = From<Device>::get(info[0]);
    auto o = Napi::Object::New(info.Env());
    o.Set("live", double(device.pool.live()));
    o.Set("peak", double(device.pool.peak()));
    o.Set("reserved", double(device.pool.reserved()));
    o.Set("scratch", double(device.kind == DeviceKind::Cpu ? cpu::scratch_bytes() : 0));
    return o;
  });
}

double dtype_of(const Tensor& t) { return double(t.dtype); }
double byte_length(const Tensor& t) { return double(t.bytes()); }
void reset(Device& device) { device.queue.reset(); }
void reset_peak(Device& device) { device.pool.reset_peak(); }
void trim(Device& device) { device.pool.trim(); }
// planFor(meta, cuda): whether it counts as CUDA's kernels would.
void plan_for(Device& device, bool cuda) {
  check(device.kind == DeviceKind::Meta, Code::Device, "planFor: ", device.name(), ", expected the meta device");
  device.plan_for(cuda ? DeviceKind::Cuda : DeviceKind::Meta);
}
double launches(Device& device) { return double(device.launches); }
void set_threads(int count) { cpu::set_threads(count); }

Napi::Value describe(const Napi::CallbackInfo& call) {
  auto o = Napi::Object::New(call.Env());
  o.Set("isa", cpu::isa_name());
  o.Set("threads", cpu::threads());
  auto cuda = Napi::Object::New(call.Env());
  std::string reason;
  cuda.Set("count", device_count(DeviceKind::Cuda, reason));
  cuda.Set("reason", reason);
#ifdef LOWRANK_HAS_CUDA
  cuda.Set("built", true);
  const auto found = cuda::info();
  cuda.Set("driver", found.driver);
  cuda.Set("runtime", found.runtime);
  auto devices = Napi::Array::New(call.Env());
  for (const auto& d : found.devices) {
    auto each = Napi::Object::New(call.Env());
    each.Set("name", d.name);
    each.Set("capability", d.capability);
    each.Set("memory", double(d.memory));
    devices.Set(devices.Length(), each);
  }
  cuda.Set("devices", devices);
#else
  cuda.Set("built", false);
#endif
  o.Set("cuda", cuda);
  return o;
}

Napi::Value info(const Napi::CallbackInfo& call) {
  return guard(call.Env(), [&] { return describe(call); });
}

#ifdef LOWRANK_HAS_CUDA
const std::vector<cuda::ConformanceCase>& cases_of(const Device& device) {
  check(device.kind == DeviceKind::Cuda, Code::Device, "conformance: ", device.name(), " has no cases; use cuda");
  return cuda::conformance_cases();
}

// conformanceCases(device): their names, and whether the GPU has what they need.
Napi::Value describe_cases(Napi::Env env, const Device& device) {
  const auto& cases = cases_of(device);
  const int generation = cuda::generation(device.index);
  auto list = Napi::Array::New(env);
  for (const auto& c : cases) {
    auto each = Napi::Object::New(env);
    each.Set("name", c.name);
    each.Set("runs", c.runs_on(generation));
    list.Set(list.Length(), each);
  }
  return list;
}

// Enqueues one of them; its failure is the queue's fault.
void run_case(Device& device, int index) {
  const auto& cases = cases_of(device);
  check(index >= 0 && size_t(index) < cases.size(), Code::Option, "conformance: case ", index, " of ", cases.size());
  const auto& c = cases[size_t(index)];
  check(c.runs_on(cuda::generation(device.index)), Code::Unsupported, c.name, ": ", device.name(), " can't run it");
  device.queue.push(c.name, c.run);
}
#else
[[noreturn]] void no_cases(const Device& device) {
  throw Error(Code::Device, "conformance: " + device.name() + " has no cases; use cuda");
}
Napi::Value describe_cases(Napi::Env, const Device& device) { no_cases(device); }
void run_case(Device& device, int) { no_cases(device); }
#endif

Napi::Value conformance_cases(const Napi::CallbackInfo& info) {
  return guard(info.Env(), [&] { return describe_cases(info.Env(), From<Device>::get(info[0])); });
}

void add_services(Napi::Object exports) {
  const auto plain = [&](const char* name, Napi::Value (*f)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(exports.Env(), f, name));
  };
  plain("initialize", initialize);
  plain("openDevice", open_device);
  plain("upload", upload);
  plain("view", view);
  plain("read", read);
  plain("wait", wait);
  plain("shape", shape);
  plain("deviceOf", device_of);
  plain("drop", drop);
  plain("live", live);
  plain("memory", memory);
  plain("info", info);
  plain("conformanceCases", conformance_cases);
  method<empty>(exports, "empty");
  method<upload_file>(exports, "uploadFile");
  method<dtype_of>(exports, "dtype");
  method<byte_length>(exports, "byteLength");
  method<reset>(exports, "reset");
  method<reset_peak>(exports, "resetPeak");
  method<trim>(exports, "trim");
  method<plan_for>(exports, "planFor");
  method<launches>(exports, "launches");
  method<set_threads>(exports, "setThreads");
  method<run_case>(exports, "runConformance");
}

void add_elements_and_products(Napi::Object exports) {
  method<ops::fill>(exports, "fill");
  method<ops::cast>(exports, "cast");
  method<ops::copy_into>(exports, "copyInto");
  method<ops::quantize>(exports, "quantize");
  method<ops::dequantize>(exports, "dequantize");
  method<ops::add>(exports, "add");
  method<ops::multiply>(exports, "multiply");
  method<ops::scale_columns>(exports, "scaleColumns");
  method<ops::scale_columns_backward>(exports, "scaleColumnsBackward");
  method<ops::inverse_norms>(exports, "inverseNorms");
  method<ops::accumulate>(exports, "accumulate");
  method<ops::accumulate_all>(exports, "accumulateAll");
  method<ops::scale>(exports, "scale");
  method<ops::activation>(exports, "activation");
  method<ops::activation_backward>(exports, "activationBackward");
  method<ops::gated_activation>(exports, "gatedActivation");
  method<ops::gated_activation_backward>(exports, "gatedActivationBackward");
  method<ops::log1mexp>(exports, "log1mexp");
  method<ops::log1mexp_backward>(exports, "log1mexpBackward");
  method<ops::dropout>(exports, "dropout");
  method<ops::sum_rows>(exports, "sumRows");
  method<ops::sum>(exports, "sum");
  method<ops::sum_squares>(exports, "sumSquares");
  method<ops::matmul>(exports, "matmul");
  method<ops::linear>(exports, "linear");
  method<ops::lora_linear>(exports, "loraLinear");
  method<ops::lora_linear_backward>(exports, "loraLinearBackward");
  method<ops::lora_linear_group>(exports, "loraLinearGroup");
  method<ops::lora_linear_group_backward>(exports, "loraLinearGroupBackward");
  method<ops::lora_gradients>(exports, "loraGradients");
  method<ops::lora_linear_rows>(exports, "loraLinearRows");
  method<ops::lora_linear_rows_backward>(exports, "loraLinearRowsBackward");
}

void add_layers(Napi::Object exports) {
  method<ops::embedding>(exports, "embedding");
  method<ops::embedding_backward>(exports, "embeddingBackward");
  method<ops::sample>(exports, "sample");
  method<ops::layer_norm>(exports, "layerNorm");
  method<ops::layer_norm_backward>(exports, "layerNormBackward");
  method<ops::rms_norm>(exports, "rmsNorm");
  method<ops::rms_norm_backward>(exports, "rmsNormBackward");
  method<ops::rope>(exports, "rope");
  method<ops::rope_backward>(exports, "ropeBackward");
  method<ops::attention>(exports, "attention");
  method<ops::attention_backward>(exports, "attentionBackward");
  method<ops::attention_bias_backward>(exports, "attentionBiasBackward");
  method<ops::cache_write>(exports, "cacheWrite");
  method<ops::attention_decode>(exports, "attentionDecode");
}

void add_losses_and_updates(Napi::Object exports) {
  method<ops::cross_entropy>(exports, "crossEntropy");
  method<ops::cross_entropy_backward>(exports, "crossEntropyBackward");
  method<ops::linear_cross_entropy>(exports, "linearCrossEntropy");
  method<ops::linear_cross_entropy_backward>(exports, "linearCrossEntropyBackward");
  method<ops::bce>(exports, "bce");
  method<ops::bce_backward>(exports, "bceBackward");
  method<ops::mse>(exports, "mse");
  method<ops::mse_backward>(exports, "mseBackward");
  method<ops::adamw>(exports, "adamw");
  method<ops::adamw8>(exports, "adamw8");
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment(env));
  add_services(exports);
  add_elements_and_products(exports);
  add_layers(exports);
  add_losses_and_updates(exports);
  return exports;
}

}  // namespace
}  // namespace lowrank::js

static Napi::Object init_addon(Napi::Env env, Napi::Object exports) { return lowrank::js::init(env, exports); }

NODE_API_MODULE(lowrank, init_addon)
