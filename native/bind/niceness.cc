#include "niceness.h"

#if defined(__linux__)
#include <sys/resource.h>
#endif

namespace noisefloor::bind {

#if defined(__linux__)

bool threadsHaveNiceness() { return true; }

void setThreadNiceness(int niceness) {
  // Linux: 0 is the calling thread, not the process; clone() passes it on.
  if (niceness > 0) setpriority(PRIO_PROCESS, 0, niceness);
}

#else

bool threadsHaveNiceness() { return false; }

void setThreadNiceness(int) {}

#endif

}  // namespace noisefloor::bind
