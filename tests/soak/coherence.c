/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Several mounts of one state, compared with a model and with each other.
 *
 *   coherence MODE [-s SEED] [-t SECONDS] [-n STEPS] [-w WORKERS] [-S]
 *             [-H SECONDS] [-x COMMAND] [-r COMMAND] DIR...
 *
 * MODE
 *   model     each worker owns a directory and a model of it; every kind of
 *             call through a random mount, compared through random mounts
 *   storm     all workers on the same few files; at pauses all mounts agree
 *   partial   partial pages written through one mount, read and written
 *             through the others
 *   truncate  mapped pages and truncation through one mount, mapped pages
 *             and writes through the others
 *   gaps      each worker through a mount of its own, with pauses
 *
 * -n  steps of a worker        -S  DIRs are states: make snapshots, too
 * -H  a worker without progress for so long hangs: the report has the stacks
 *     of its processes and what COMMAND (-x) prints; then the connections of
 *     the DIRs are aborted.
 * -r  COMMAND, called with "mount" or "umount" and a DIR: in mode model with
 *     one worker all DIRs but the first come and go; in the modes partial and
 *     truncate they come when the first has the file open and cached.
 *
 * Exit code 0: as it should be; 1: a difference; 3: a hang.
 */
#include "coherence.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FUSE_MAGIC = 0x65735546 };

/* ---- What workers use --------------------------------------------------- */

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t hash_bytes(const void *data, size_t len)
{
	const uint8_t *bytes = data;
	uint64_t hash = 14695981039346656037u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 1099511628211u;
	return hash;
}

uint64_t worker_random(struct worker *worker)
{
	uint64_t x = worker->random += 0x9e3779b97f4a7c15;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

unsigned worker_below(struct worker *worker, unsigned n)
{
	return (unsigned)(worker_random(worker) % n);
}

bool worker_one_in(struct worker *worker, unsigned n)
{
	return worker_below(worker, n) == 0;
}

void worker_step(struct worker *worker, const char *format, ...)
{
	struct steps *steps = &worker->shared->steps[worker->number];
	unsigned long count = atomic_load(&steps->count) + 1;
	char *text = steps->text[count % STEPS_KEPT];
	int n = snprintf(text, STEP_LEN, "%lu: ", count);
	va_list args;

	va_start(args, format);
	vsnprintf(text + n, STEP_LEN - (size_t)n, format, args);
	va_end(args);
	atomic_store(&steps->count, count);
}

bool worker_done(struct worker *worker)
{
	const struct options *options = worker->options;

	return atomic_load(&worker->shared->stop) ||
	       now_ns() > worker->end_ns ||
	       (options->max_steps &&
	        atomic_load(&worker->shared->steps[worker->number].count) >=
	                options->max_steps);
}

static void print_steps(const struct steps *steps, unsigned last)
{
	unsigned long count = atomic_load(&steps->count);
	unsigned long from = count > last ? count - last + 1 : 1;

	for (unsigned long i = from; i <= count; i++)
		fprintf(stderr, "    %s\n", steps->text[i % STEPS_KEPT]);
}

void worker_fail(struct worker *worker, const char *format, ...)
{
	va_list args;

	/* One report is enough; the others end quietly. */
	if (!atomic_exchange(&worker->shared->failed, true)) {
		fprintf(stderr, "coherence: seed %ju, worker %u: ",
		        (uintmax_t)worker->options->seed, worker->number);
		va_start(args, format);
		vfprintf(stderr, format, args);
		va_end(args);
		fprintf(stderr, "\n  its last steps:\n");
		print_steps(&worker->shared->steps[worker->number], STEPS_KEPT);
	}
	atomic_store(&worker->shared->stop, true);
	_exit(FAILED);
}

void worker_need(struct worker *worker, bool good, const char *what)
{
	if (!good)
		worker_fail(worker, "%s: %s", what, strerror(errno));
}

static void connection_note(struct shared *shared, unsigned i, const char *dir)
{
	struct statfs fs;
	struct stat st;

	if (statfs(dir, &fs) == 0 && fs.f_type == FUSE_MAGIC &&
	    stat(dir, &st) == 0)
		atomic_store(&shared->connections[i], minor(st.st_dev));
}

void worker_remount(struct worker *worker, const char *what, unsigned mount)
{
	const struct options *options = worker->options;
	char command[1024];

	snprintf(command, sizeof(command), "%s %s %s", options->remount, what,
	         options->dirs[mount]);
	if (system(command))
		worker_fail(worker, "%s", command);
	connection_note(worker->shared, mount, options->dirs[mount]);
}

static sigjmp_buf *volatile sigbus_back;

static void sigbus_caught(int signal)
{
	if (sigbus_back)
		siglongjmp(*sigbus_back, 1);
	_exit(FAILED);
}

bool without_sigbus(void (*fn)(void *arg), void *arg)
{
	sigjmp_buf back;
	bool good = false;

	if (sigsetjmp(back, 1) == 0) {
		sigbus_back = &back;
		fn(arg);
		good = true;
	}
	sigbus_back = NULL;
	return good;
}

/* ---- The parent --------------------------------------------------------- */

static void print_file(const char *path)
{
	char text[8192];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = read(fd, text, sizeof(text))) > 0)
		fwrite(text, 1, (size_t)n, stderr);
	close(fd);
}

static void report_hang(const struct options *options, struct shared *shared,
                        const pid_t *pids, unsigned hung)
{
	fprintf(stderr,
	        "coherence: seed %ju: worker %u has made no progress for %g "
	        "seconds\n",
	        (uintmax_t)options->seed, hung, options->hang);
	for (unsigned i = 0; i < options->workers; i++) {
		char path[64];

		if (!pids[i])
			continue;
		fprintf(stderr, "  worker %u, pid %d:\n", i, (int)pids[i]);
		print_steps(&shared->steps[i], 5);
		snprintf(path, sizeof(path), "/proc/%d/stack", (int)pids[i]);
		print_file(path);
	}
	fflush(stderr);
	if (options->on_hang && system(options->on_hang))
		fprintf(stderr, "coherence: the command failed\n");
}

static void abort_connections(struct shared *shared)
{
	for (unsigned i = 0; i < MOUNTS_MAX; i++) {
		unsigned number = atomic_load(&shared->connections[i]);
		char path[64];
		int fd;

		if (!number)
			continue;
		snprintf(path, sizeof(path),
		         "/sys/fs/fuse/connections/%u/abort", number);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "1", 1) != 1)
			fprintf(stderr, "coherence: %s: %s\n", path,
			        strerror(errno));
		if (fd >= 0)
			close(fd);
	}
}

/* Take the exit codes of the workers that have ended. */
static unsigned reap(pid_t *pids, unsigned count, int *code)
{
	unsigned alive = 0;

	for (unsigned i = 0; i < count; i++) {
		int status;

		if (pids[i] && waitpid(pids[i], &status, WNOHANG) == pids[i]) {
			pids[i] = 0;
			if (!WIFEXITED(status) || WEXITSTATUS(status))
				*code = FAILED;
		}
		alive += pids[i] != 0;
	}
	return alive;
}

static void stop_all(struct shared *shared, const pid_t *pids, unsigned count)
{
	atomic_store(&shared->stop, true);
	for (unsigned i = 0; i < count; i++) {
		if (pids[i])
			kill(pids[i], SIGKILL);
	}
}

/* When each worker was last seen to make progress. */
struct progress {
	unsigned long seen[WORKERS_MAX];
	uint64_t when[WORKERS_MAX];
};

/* Return the number of a worker that hangs, or -1. */
static int find_hung(struct progress *progress, const struct options *options,
                     struct shared *shared, const pid_t *pids)
{
	uint64_t now = now_ns();

	for (unsigned i = 0; i < options->workers; i++) {
		unsigned long count = atomic_load(&shared->steps[i].count);

		if (count != progress->seen[i] || !pids[i] ||
		    !progress->when[i]) {
			progress->seen[i] = count;
			progress->when[i] = now;
		} else if ((double)(now - progress->when[i]) >
		           options->hang * 1e9) {
			return (int)i;
		}
	}
	return -1;
}

/* Wait for all workers; return the exit code. */
static int watch(const struct options *options, struct shared *shared,
                 pid_t *pids)
{
	struct progress progress = {0};
	int code = 0;

	while (reap(pids, options->workers, &code)) {
		int hung = find_hung(&progress, options, shared, pids);

		/* Others may wait at a barrier for one that fell. */
		if (code)
			stop_all(shared, pids, options->workers);
		if (hung >= 0) {
			report_hang(options, shared, pids, (unsigned)hung);
			abort_connections(shared);
			stop_all(shared, pids, options->workers);
			return HUNG;
		}
		usleep(20000);
	}
	return code;
}

static const struct mode {
	const char *name;
	void (*run)(struct worker *worker);
} modes[] = {
        {"model", model_run},       {"storm", storm_run},
        {"partial", partial_run},   {"gaps", gaps_run},
        {"truncate", truncate_run},
};

static void worker_main(const struct mode *mode, const struct options *options,
                        struct shared *shared, unsigned number)
{
	struct sigaction action = {.sa_handler = sigbus_caught};
	struct worker worker = {
	        .options = options,
	        .shared = shared,
	        .number = number,
	        .random = options->seed * 1000003 + number,
	        .end_ns = now_ns() + (uint64_t)(options->seconds * 1e9),
	};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGBUS, &action, NULL);
	umask(0);
	mode->run(&worker);
	_exit(0);
}

static struct shared *shared_create(const struct options *options)
{
	struct shared *shared =
	        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
	             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_barrierattr_t attr;

	if (shared == MAP_FAILED)
		return NULL;
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->barrier, &attr, options->workers);
	for (unsigned i = 0; i < options->mounts; i++)
		connection_note(shared, i, options->dirs[i]);
	return shared;
}

static int run(const struct mode *mode, struct options *options)
{
	struct shared *shared = shared_create(options);
	pid_t pids[WORKERS_MAX] = {0};
	unsigned long steps = 0;
	int code;

	if (!shared) {
		perror("coherence: mmap");
		return FAILED;
	}
	fflush(stdout);
	for (unsigned i = 0; i < options->workers; i++) {
		pids[i] = fork();
		if (pids[i] < 0) {
			perror("coherence: fork");
			return FAILED;
		}
		if (!pids[i])
			worker_main(mode, options, shared, i);
	}
	code = watch(options, shared, pids);
	for (unsigned i = 0; i < options->workers; i++)
		steps += atomic_load(&shared->steps[i].count);
	printf("%s: seed %ju, %u mounts, %u workers, %lu steps: %s\n",
	       mode->name, (uintmax_t)options->seed, options->mounts,
	       options->workers, steps,
	       code == HUNG ? "HANG"
	       : code       ? "FAILED"
	                    : "good");
	return code;
}

static int usage(void)
{
	fprintf(stderr, "usage: coherence model|storm|partial|truncate|gaps "
	                "[-s SEED] [-t SECONDS] [-n STEPS] [-w WORKERS] [-S] "
	                "[-H SECONDS] [-x COMMAND] [-r COMMAND] DIR...\n");
	return 2;
}

static const struct mode *mode_find(const char *name)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (strcmp(name, modes[i].name) == 0)
			return &modes[i];
	}
	return NULL;
}

/* Read the options, from the second argument on; false: one is unknown. */
static bool options_read(struct options *options, int argc, char **argv)
{
	int c;

	optind = 2;
	while ((c = getopt(argc, argv, "s:t:n:w:SH:x:r:")) != -1) {
		if (c == 's')
			options->seed = strtoull(optarg, NULL, 0);
		else if (c == 't')
			options->seconds = strtod(optarg, NULL);
		else if (c == 'n')
			options->max_steps = strtoul(optarg, NULL, 0);
		else if (c == 'w')
			options->workers = (unsigned)strtoul(optarg, NULL, 0);
		else if (c == 'S')
			options->snapshots = true;
		else if (c == 'H')
			options->hang = strtod(optarg, NULL);
		else if (c == 'x')
			options->on_hang = optarg;
		else if (c == 'r')
			options->remount = optarg;
		else
			return false;
	}
	for (; optind < argc && options->mounts < MOUNTS_MAX; optind++)
		options->dirs[options->mounts++] = argv[optind];
	return options->mounts && options->workers &&
	       options->workers <= WORKERS_MAX;
}

int main(int argc, char **argv)
{
	struct options options = {.seed = (uint64_t)time(NULL),
	                          .seconds = 5,
	                          .hang = 20,
	                          .workers = 1};
	const struct mode *mode = argc > 1 ? mode_find(argv[1]) : NULL;

	if (!mode || !options_read(&options, argc, argv))
		return usage();
	return run(mode, &options);
}
