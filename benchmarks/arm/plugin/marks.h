// Marks around what shall be counted: hints that do nothing on a processor.
#ifndef MARKS_H
#define MARKS_H

#define MARK_BEGIN_WORD 0xd5032f1fu  // hint #120
#define MARK_END_WORD 0xd5032f3fu    // hint #121

#endif
