#pragma once
#include <limits>
#include <utility>
#include <vector>

#include "binding/environment.h"
#include "core/ops.h"

// Turns `Tensor op(const Tensor&, double)` into a JavaScript function. The C++ signature is the only description.
// Tensors are handles, an absent one is 0; structs of numbers arrive as Float64Array in the order of their From<>.
namespace lowrank::js {

template <typename T, typename = void>
struct From;

inline double number(const Napi::Value& v) {
  check(v.IsNumber(), Code::Option, "native call: expected a number");
  return v.As<Napi::Number>().DoubleValue();
}

// JavaScript's numbers are doubles: whole ones reach 2^53.
template <typename T>
T whole(double d, const char* what) {
  constexpr double SAFE = 9007199254740992.0;
  constexpr double low = sizeof(T) < 8 ? double(std::numeric_limits<T>::min()) : std::is_signed_v<T> ? -SAFE : 0;
  constexpr double high = sizeof(T) < 8 ? double(std::numeric_limits<T>::max()) : SAFE;
  check(d >= low && d <= high && d == std::floor(d), Code::Option, what, ": ", d, ", expected a whole number from ",
        int64_t(low), " to ", int64_t(high));
  return T(d);
}

template <typename T>
struct From<T, std::enable_if_t<std::is_floating_point_v<T>>> {
  static T get(const Napi::Value& v) { return T(number(v)); }
};
template <typename T>
struct From<T, std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>> {
  static T get(const Napi::Value& v) { return whole<T>(number(v), "native call"); }
};
template <>
struct From<bool> {
  static bool get(const Napi::Value& v) {
    check(v.IsBoolean(), Code::Option, "native call: expected a boolean");
    return v.As<Napi::Boolean>().Value();
  }
};
template <typename T>
constexpr int LAST = -1;  // the last value of an enum
template <>
constexpr int LAST<DType> = int(DType::Q6_K);
template <>
constexpr int LAST<Activation> = int(Activation::Relu);
template <>
constexpr int LAST<Compute> = int(Compute::TF32);

template <typename T>
struct From<T, std::enable_if_t<std::is_enum_v<T>>> {
  static_assert(LAST<T> >= 0, "say what the last value is");
  static T get(const Napi::Value& v) {
    const int i = From<int>::get(v);
    check(i >= 0 && i <= LAST<T>, std::is_same_v<T, DType> ? Code::DType : Code::Option,
          std::is_same_v<T, DType> ? "dtype: " : "native call: ", i, ", expected 0 to ", LAST<T>);
    return T(i);
  }
};
template <>
struct From<Tensor> {
  static const Tensor& get(const Napi::Value& v) { return Environment::of(v.Env()).handles.get(From<double>::get(v)); }
};
template <>
struct From<ops::Maybe> {
  static ops::Maybe get(const Napi::Value& v) {
    const double handle = From<double>::get(v);
    return handle == 0 ? nullptr : &Environment::of(v.Env()).handles.get(handle);
  }
};
template <>
struct From<Device> {
  static Device& get(const Napi::Value& v) { return Environment::of(v.Env()).device(From<int>::get(v)); }
};
template <>
struct From<Shape> {
  static Shape get(const Napi::Value& v) {
    check(v.IsArray(), Code::Shape, "shape: expected an array of numbers");
    const auto list = v.As<Napi::Array>();
    Shape shape;
    check(list.Length() <= MAX_RANK, Code::Shape, "shape: rank ", list.Length(), " is more than ", MAX_RANK);
    shape.rank = int32_t(list.Length());
    for (uint32_t i = 0; i < list.Length(); ++i) {
      const double d = From<double>::get(list[i]);
      check(d >= 0 && d < 4503599627370496.0 && d == std::floor(d), Code::Shape, "shape: dimension ", d,
            ", expected a whole number from 0");
      shape.dims[i] = int64_t(d);
    }
    return shape;
  }
};

inline const double* numbers(const Napi::Value& v, size_t count) {
  check(v.IsTypedArray() && v.As<Napi::TypedArray>().TypedArrayType() == napi_float64_array &&
            v.As<Napi::TypedArray>().ElementLength() == count,
        Code::Option, "native call: expected a Float64Array of ", count);
  return v.As<Napi::Float64Array>().Data();
}

template <>
struct From<Dropout> {
  static Dropout get(const Napi::Value& v) {
    Dropout d;
    if (v.IsNull()) return d;
    const double* n = numbers(v, 6);
    d.keep = whole<int32_t>(n[0], "dropout.keep"), d.site = whole<uint32_t>(n[1], "dropout.site");
    d.step = whole<uint32_t>(n[2], "dropout.step");
    d.seed = uint64_t(whole<uint32_t>(n[3], "dropout.seed")) | uint64_t(whole<uint32_t>(n[4], "dropout.seed")) << 32;
    d.row_offset = int64_t(whole<uint64_t>(n[5], "dropout.rowOffset"));
    check(d.keep > 0 && d.keep <= 256, Code::Option, "dropout: ", d.keep, " of 256 kept, expected 1 to 256");
    return d;
  }
};
template <>
struct From<Sampling> {
  static Sampling get(const Napi::Value& v) {
    const double* n = numbers(v, 8);
    Dropout random;
    random.site = whole<uint32_t>(n[3], "sample.site"), random.step = whole<uint32_t>(n[4], "sample.step");
    random.seed = uint64_t(whole<uint32_t>(n[5], "sample.seed")) | uint64_t(whole<uint32_t>(n[6], "sample.seed")) << 32;
    random.row_offset = int64_t(whole<uint32_t>(n[7], "sample.row"));
    return {n[0], int64_t(whole<uint32_t>(n[1], "sample.topK")), n[2], random};
  }
};
template <>
struct From<AttentionShape> {
  static AttentionShape get(const Napi::Value& v) {
    const double* n = numbers(v, 10);
    return {whole<int32_t>(n[0], "attention.heads"),
            whole<int32_t>(n[1], "attention.kvHeads"),
            whole<int32_t>(n[2], "attention.headDim"),
            whole<int32_t>(n[3], "attention.causal"),
            int64_t(whole<uint32_t>(n[4], "attention.maxLength")),
            int64_t(whole<uint32_t>(n[5], "attention.rowStride")),
            n[6],
            int64_t(whole<uint32_t>(n[7], "attention.maxKeys")),
            int64_t(whole<uint32_t>(n[8], "attention.window")),
            n[9]};
  }
};
template <>
struct From<CrossEntropy> {
  static CrossEntropy get(const Napi::Value& v) {
    const double* n = numbers(v, 3);
    return {whole<int32_t>(n[0], "crossEntropy.ignoreIndex"), n[1], n[2]};
  }
};
template <>
struct From<LinearCrossEntropy> {
  static LinearCrossEntropy get(const Napi::Value& v) {
    constexpr size_t OWN = 7, MOST = LinearCrossEntropy::MOST;
    const size_t length = v.IsTypedArray() ? v.As<Napi::TypedArray>().ElementLength() : 0;
    const size_t count = length > OWN ? (length - OWN) / 2 : 0;
    check(count <= MOST, Code::Option, "linearCrossEntropy: ", count, " parts, expected at most ", MOST);
    const double* n = numbers(v, OWN + 2 * count);
    const int compute = whole<int>(n[6], "linearCrossEntropy.compute");
    check(compute >= 0 && compute <= LAST<Compute>, Code::Option, "linearCrossEntropy.compute: ", compute,
          ", expected 0 to ", LAST<Compute>);
    LinearCrossEntropy options = {whole<int32_t>(n[0], "linearCrossEntropy.ignoreIndex"),
                                  n[1],
                                  n[2],
                                  n[3],
                                  n[4],
                                  int64_t(whole<uint32_t>(n[5], "linearCrossEntropy.chunk")),
                                  Compute(compute)};
    options.count = int32_t(count);
    for (size_t i = 0; i < count; ++i) {
      const double* own = n + OWN + 2 * i;
      options.parts[i] = {int64_t(whole<uint32_t>(own[0], "linearCrossEntropy.parts")), own[1]};
    }
    return options;
  }
};
template <>
struct From<AdamW> {
  static AdamW get(const Napi::Value& v) {
    const double* n = numbers(v, 7);
    return {n[0], n[1], n[2], n[3], n[4], n[5], whole<int64_t>(n[6], "adamw.step")};
  }
};

// Lists: arrays of handles, where 0 is undefined; of numbers; of dropouts. Reading an element may run JavaScript, so an
// op takes its other tensors by value beside them.
template <typename T, typename F>
std::vector<T> list(const Napi::Value& v, F&& element) {
  check(v.IsArray(), Code::Option, "native call: expected an array");
  const auto array = v.As<Napi::Array>();
  constexpr uint32_t MOST = 1024;
  const uint32_t length = array.Length();
  check(length <= MOST, Code::Option, "native call: an array of ", length, ", expected at most ", MOST);
  std::vector<T> all;
  for (uint32_t i = 0; i < length; ++i) all.push_back(element(Napi::Value(array[i])));
  return all;
}
template <>
struct From<ops::Tensors> {
  static ops::Tensors get(const Napi::Value& v) {
    return list<Tensor>(v, [](const Napi::Value& each) {
      const ops::Maybe tensor = From<ops::Maybe>::get(each);
      return tensor ? *tensor : Tensor{};
    });
  }
};
template <>
struct From<std::vector<double>> {
  static std::vector<double> get(const Napi::Value& v) { return list<double>(v, From<double>::get); }
};
template <>
struct From<std::vector<Dropout>> {
  static std::vector<Dropout> get(const Napi::Value& v) { return list<Dropout>(v, From<Dropout>::get); }
};

inline Napi::Value to(Napi::Env env, double d) { return Napi::Number::New(env, d); }
inline Napi::Value to(Napi::Env env, bool b) { return Napi::Boolean::New(env, b); }
inline Napi::Value to(Napi::Env env, Tensor t) {
  return to(env, t.defined() ? Environment::of(env).handles.put(std::move(t)) : 0.0);
}
inline Napi::Value to(Napi::Env env, ops::Tensors tensors) {
  auto array = Napi::Array::New(env, tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) array.Set(uint32_t(i), to(env, std::move(tensors[i])));
  return array;
}

// The one place where a C++ exception becomes a JavaScript one.
template <typename F>
Napi::Value guard(Napi::Env env, F&& body) {
  try {
    return body();
  } catch (const Error& e) {
    throw error_of(env, e.code, e.what());
  } catch (const std::bad_alloc&) {
    throw error_of(env, Code::Memory, "native call: out of memory");
  } catch (const Napi::Error&) {
    throw;
  } catch (const std::exception& e) {
    throw error_of(env, Code::Unsupported, std::string("native call: ") + e.what());
  }
}

template <auto F>
struct Method;
template <typename R, typename... Args, R (*F)(Args...)>
struct Method<F> {
  static Napi::Value call(const Napi::CallbackInfo& info) {
    return guard(info.Env(), [&] { return apply(info, std::index_sequence_for<Args...>{}); });
  }
  template <size_t... I>
  static Napi::Value apply(const Napi::CallbackInfo& info, std::index_sequence<I...>) {
    check(info.Length() >= sizeof...(Args), Code::Option, "native call: expected ", sizeof...(Args), " arguments, got ",
          info.Length());
    if constexpr (std::is_void_v<R>) {
      F(From<std::decay_t<Args>>::get(info[I])...);
      return info.Env().Undefined();
    } else {
      return to(info.Env(), F(From<std::decay_t<Args>>::get(info[I])...));
    }
  }
};

template <auto F>
void method(Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<Method<F>::call>(exports.Env(), name));
}

}  // namespace lowrank::js
