/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "place.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;
static struct place *places; /* guarded by places_lock */

int place_take(struct place *place, const char *path)
{
	pid_t pid = getpid();
	struct stat st;
	int err = 0;

	if (stat(path, &st) < 0)
		return -errno;
	pthread_mutex_lock(&places_lock);
	/* Places of the parent process do not count. */
	for (const struct place *p = places; p && !err; p = p->next)
		if (p->dev == st.st_dev && p->ino == st.st_ino && p->pid == pid)
			err = -EBUSY;
	if (!err) {
		*place = (struct place){places, st.st_dev, st.st_ino, pid};
		places = place;
	}
	pthread_mutex_unlock(&places_lock);
	return err;
}

void place_release(struct place *place)
{
	if (!place->pid)
		return;
	pthread_mutex_lock(&places_lock);
	for (struct place **at = &places; *at; at = &(*at)->next) {
		if (*at == place) {
			*at = place->next;
			break;
		}
	}
	pthread_mutex_unlock(&places_lock);
	place->pid = 0;
}
