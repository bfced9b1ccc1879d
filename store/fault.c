/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signal handlers that jump to the innermost guard of the thread. */
#include "fault.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>

#include "util.h"

struct guard {
	sigjmp_buf back;
	struct guard *outer;
};

/* The innermost guard of this thread, or NULL. */
static __thread struct guard *volatile innermost;

/* The handlers that the signals had before. */
static struct sigaction before_segv, before_bus;

static void fault_caught(int signal, siginfo_t *info, void *context)
{
	if (innermost)
		siglongjmp(innermost->back, 1);
	/* The access is repeated, and the former handler gets its signal. */
	sigaction(signal, signal == SIGBUS ? &before_bus : &before_segv, NULL);
}

static void fault_catch(int signal, struct sigaction *before)
{
	struct sigaction action = {
	        .sa_sigaction = fault_caught,
	        /* Leave the signal unblocked: the jump does not restore the
	           mask. */
	        .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK,
	};
	struct sigaction now;

	sigemptyset(&action.sa_mask);
	if (sigaction(signal, NULL, &now) < 0 ||
	    now.sa_sigaction == fault_caught)
		return;
	*before = now;
	sigaction(signal, &action, NULL);
}

void fault_init(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	fault_catch(SIGSEGV, &before_segv);
	fault_catch(SIGBUS, &before_bus);
	pthread_mutex_unlock(&lock);
}

int fault_guard(int (*fn)(void *arg), void *arg)
{
	struct guard guard = {.outer = innermost};
	int r;

	if (sigsetjmp(guard.back, 0)) {
		innermost = guard.outer;
		return FAULT;
	}
	innermost = &guard;
	r = fn(arg);
	innermost = guard.outer;
	return r;
}

static int touch(void *arg)
{
	(void)*(const volatile uint8_t *)arg;
	return 0;
}

bool fault_is_readable(const void *byte)
{
	return fault_guard(touch, (void *)byte) == 0;
}

void fault_assert(MDB_env *env, const char *message)
{
	if (innermost)
		siglongjmp(innermost->back, 1);
	log_error("data.mdb is damaged: %s", message);
	abort();
}
