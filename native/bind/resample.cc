#include "../pixels/resample.h"

#include "arguments.h"
#include "exports.h"

namespace noisefloor::bind {
namespace {

/// On libuv's pool, where sharp decodes too.
class ResampleWorker : public Napi::AsyncWorker {
 public:
  ResampleWorker(Napi::Env env, Napi::Uint8Array pixels, const PictureSize& size, Taps columns, Taps rows)
      : Napi::AsyncWorker(env, "noisefloor.resample"), deferred_(Napi::Promise::Deferred::New(env)), size_(size),
        columns_(std::move(columns)), rows_(std::move(rows)), pixels_(pixels.Data()) {
    Napi::Uint8Array planes =
        Napi::Uint8Array::New(env, static_cast<size_t>(size.channels) * columns_.size() * rows_.size());
    planes_ = planes.Data();
    kept_[0] = Napi::Persistent(pixels);
    kept_[1] = Napi::Persistent(planes);
  }

  Napi::Promise promise() const { return deferred_.Promise(); }

 protected:
  void Execute() override { resample(pixels_, size_, columns_, rows_, planes_); }
  void OnOK() override { deferred_.Resolve(kept_[1].Value()); }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  Napi::Promise::Deferred deferred_;
  PictureSize size_;
  Taps columns_;
  Taps rows_;
  Napi::Reference<Napi::Uint8Array> kept_[2];  ///< `pixels_` and `planes_` live as long as the worker
  const uint8_t* pixels_;
  uint8_t* planes_;
};

Taps tapsArgument(Napi::Value value, int32_t extent, const char* axis) {
  const std::string path = axis;
  const Napi::Object object = objectArgument(value, path);
  const auto field = [&](const char* name) { return int32sArgument(object.Get(name), path + "." + name); };
  Taps taps = {field("first"), field("count"), field("weights")};
  checkTaps(taps, extent, axis);
  return taps;
}

}  // namespace

Napi::Value resamplePicture(const Napi::CallbackInfo& info) {
  return rethrown(info.Env(), [&]() -> Napi::Value {
    const Napi::TypedArray pixels = typedArrayArgument(info[0], napi_uint8_array, "Uint8Array", "pixels");
    const PictureSize size = {int32Argument(info[1], "width"), int32Argument(info[2], "height"),
                              int32Argument(info[3], "channels")};
    if (size.width < 1 || size.height < 1 || (size.channels != 1 && size.channels != 3) ||
        pixels.ElementLength() != static_cast<size_t>(size.width) * static_cast<size_t>(size.height) * static_cast<size_t>(size.channels)) {
      throw EngineError(ErrorCode::invalidArgument, "Expected height x width pixels of 1 or 3 channels for pixels");
    }
    Taps columns = tapsArgument(info[4], size.width, "columns");
    Taps rows = tapsArgument(info[5], size.height, "rows");
    auto* worker = new ResampleWorker(info.Env(), pixels.As<Napi::Uint8Array>(), size, std::move(columns), std::move(rows));
    const Napi::Promise promise = worker->promise();
    worker->Queue();
    return promise;
  });
}

}  // namespace noisefloor::bind
