#pragma once
#include <napi.h>

namespace noisefloor::bind {

// function activeIsa(): string
Napi::Value activeIsa(const Napi::CallbackInfo& info);

// function supportedIsas(): Isa[]
Napi::Value supportedIsas(const Napi::CallbackInfo& info);

// function resample(pixels, width, height, channels, columns, rows): Promise<Uint8Array>
Napi::Value resamplePicture(const Napi::CallbackInfo& info);

// class Session, see bind/session.h
Napi::Function sessionClass(Napi::Env env);

}  // namespace noisefloor::bind
