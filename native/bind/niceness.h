#pragma once

namespace noisefloor::bind {

/// Whether threads of one process may have priorities of their own here.
bool threadsHaveNiceness();

/// Of the calling thread, and of the threads that it starts from now on; 0 leaves it alone. Raising it needs no privilege.
void setThreadNiceness(int niceness);

}  // namespace noisefloor::bind
