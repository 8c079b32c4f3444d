# No object but the two that stand for the system calls files, maps or the allocator; none prints or exits. Sleeping (park) and thread
# numbers (pool) have no other name than syscall.
SYSTEM_OBJS := $(BUILD)/obj/base/vfs% $(BUILD)/obj/base/mem%
FORBIDDEN := open open64 openat openat64 creat creat64 __open_2 __openat_2 close read __read_chk write pread pread64 pwrite \
    pwrite64 readv writev preadv preadv64 pwritev pwritev64 lseek lseek64 fsync fdatasync sync syncfs rename renameat renameat2 \
    link symlink unlink unlinkat remove mkdir mkdirat rmdir opendir fdopendir readdir readdir64 scandir stat stat64 lstat fstat \
    fstat64 fstatat fstatat64 statvfs fstatvfs access truncate truncate64 ftruncate ftruncate64 fallocate posix_fallocate flock \
    lockf fcntl fcntl64 ioctl mmap mmap64 munmap mremap madvise msync mlock fopen fopen64 fdopen freopen fclose fread fwrite \
    tmpfile mkstemp getrandom getentropy time gettimeofday malloc calloc realloc reallocarray free strdup strndup \
    __strdup asprintf vasprintf getline posix_memalign aligned_alloc memalign valloc sbrk brk printf __printf_chk puts putchar \
    fprintf __fprintf_chk vfprintf fputs fputc perror syslog stdout stderr exit _exit quick_exit system popen fork execve signal \
    sigaction setlocale srand rand random

.PHONY: check-symbols
check-symbols: $(OBJS) ## no object but base/vfs and base/mem calls files or the allocator directly
	@nm -A -u $(filter-out $(SYSTEM_OBJS),$(OBJS)) | \
	    awk -v forbidden='$(FORBIDDEN)' 'BEGIN { split(forbidden, list); for (i in list) bad[list[i]] = 1 } \
	        { name = $$NF; sub(/@.*/, "", name); if (name in bad || (name == "syscall" && $$1 !~ /base\/(park|pool)\.o/)) { sub(/:.*/, "", $$1); print $$1 ": calls " name; found = 1 } } \
	        END { exit found }'
