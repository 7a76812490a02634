// The marks as functions of a shared library, for programs in other languages.
void mark_begin(void);
void mark_end(void);

#if defined(__aarch64__)
void mark_begin(void) {
    __asm__ volatile("hint #120" ::: "memory");
}
void mark_end(void) {
    __asm__ volatile("hint #121" ::: "memory");
}
#else
void mark_begin(void) {
}
void mark_end(void) {
}
#endif
