#pragma once
#include <stdexcept>
#include <string>

namespace noisefloor {

enum class ErrorCode { invalidArgument, invalidData, engine, aborted, disposed };

/// The codes of src/errors.ts.
inline const char* errorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalidArgument: return "INVALID_ARGUMENT";
    case ErrorCode::invalidData: return "INVALID_DATA";
    case ErrorCode::engine: return "ENGINE";
    case ErrorCode::aborted: return "ABORTED";
    case ErrorCode::disposed: return "DISPOSED";
  }
  return "ENGINE";
}

class EngineError : public std::runtime_error {
 public:
  EngineError(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace noisefloor
