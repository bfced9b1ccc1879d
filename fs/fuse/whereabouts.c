/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "whereabouts.h"

#include <ctype.h>
#include <dirent.h>
#include <sys/uio.h>

#include "util.h"

enum {
	STACK_WORDS = 1024, /* words of the stack that are read */
	FRAMES = 24,
};

/* Set by the linker: the beginning and end of this program's code. */
extern const char __executable_start, etext;

/* Read the first line of a thread's file in /proc; "" on failure. */
static void read_line(const char *id, const char *name, char *ret_line,
                      int size)
{
	char path[64];
	_cleanup_fclose_ FILE *f = NULL;

	*ret_line = 0;
	if ((size_t)snprintf(path, sizeof(path), "/proc/self/task/%.20s/%s", id,
	                     name) >= sizeof(path))
		return;
	f = fopen(path, "re");
	if (!f || !fgets(ret_line, size, f))
		*ret_line = 0;
	ret_line[strcspn(ret_line, "\n")] = 0;
}

/*
 * Copy the stack from sp on, as far as possible, and return the words copied.
 * The kernel copies, a page at a time: the thread may end meanwhile.
 */
static size_t read_stack(uintptr_t sp, uintptr_t words[STACK_WORDS])
{
	enum { PAGE = 4096 };
	size_t done = 0, size = STACK_WORDS * sizeof(*words);

	while (done < size) {
		size_t piece = MIN(size - done, PAGE - (sp + done) % PAGE);
		struct iovec to = {(uint8_t *)words + done, piece},
		             from = {(void *)(sp + done), piece};

		if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) !=
		    (ssize_t)piece)
			break;
		done += piece;
	}
	return done / sizeof(*words);
}

/* Add the addresses on the stack that are in this program's code. */
static void add_frames(uintptr_t sp, FILE *out)
{
	uintptr_t start = (uintptr_t)&__executable_start;
	uintptr_t words[STACK_WORDS];
	size_t count = read_stack(sp, words);
	unsigned found = 0;

	for (size_t i = 0; i < count && found < FRAMES; i++) {
		if (words[i] < start || words[i] >= (uintptr_t)&etext)
			continue;
		fprintf(out, "%s+0x%jx", found++ ? " " : "; stack: ",
		        (uintmax_t)(words[i] - start));
	}
}

static void log_thread(const char *id)
{
	char name[32], wchan[64], syscall[256], *text = NULL, *end;
	unsigned long long sp = 0;
	size_t size = 0;
	FILE *out;

	read_line(id, "comm", name, sizeof(name));
	read_line(id, "wchan", wchan, sizeof(wchan));
	read_line(id, "syscall", syscall, sizeof(syscall));
	out = open_memstream(&text, &size);
	if (!out)
		return;
	fprintf(out, "thread %s '%s': ", id, name);
	if (isdigit((unsigned char)*syscall))
		fprintf(out, "in system call %d", atoi(syscall));
	else
		fputs(*syscall ? syscall : "state unknown", out);
	if (strcmp(wchan, "0") != 0 && *wchan)
		fprintf(out, " (%s)", wchan);
	/* The last two numbers are the pointers to stack and program. */
	end = strrchr(syscall, ' ');
	if (end) {
		*end = 0;
		end = strrchr(syscall, ' ');
		sp = end ? strtoull(end, NULL, 16) : 0;
	}
	if (sp)
		add_frames((uintptr_t)sp, out);
	if (fclose(out) == 0)
		log_warning("%s", text);
	free(text);
}

void whereabouts_log(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (isdigit((unsigned char)entry->d_name[0]))
			log_thread(entry->d_name);
	}
	if (dir)
		closedir(dir);
}
