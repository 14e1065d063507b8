/* SPDX-License-Identifier: BSD-2-Clause */
/* What is being computed is out of date already: invalidate, or detach. */
#include "example.h"

struct scene {
	struct shmc *cache;
	const char *key;
	struct gate leading, go_on;
};

static void
load_from_old_data(struct shmc_lead *lead, void *arg)
{
	struct scene *scene = arg;

	gate_open(&scene->leading);
	gate_pass(&scene->go_on);
	MUST(shmc_lead_value(lead, "old", 3, 0, NULL) == SHMC_OK);
}

static void
load_from_new_data(struct shmc_lead *lead, void *arg)
{
	(void)arg;
	MUST(shmc_lead_value(lead, "new", 3, 0, NULL) == SHMC_OK);
}

/* Gets what it computed, and is told that it is not what the cache has. */
static void
fetch_old(void *arg)
{
	struct scene *scene = arg;
	struct shmc_view view;

	MUST(shmc_fetch(scene->cache, scene->key, 1, NULL, load_from_old_data,
	    scene, &view) == SHMC_OK);
	MUST(says(&view, "old") && (view.flags & SHMC_SUPERSEDED) != 0);
	shmc_view_release(&view);
}

static void
expect(struct scene *scene, enum shmc_role role)
{
	struct shmc_view view;

	MUST(shmc_fetch(scene->cache, scene->key, 1, NULL, load_from_new_data,
	    NULL, &view) == SHMC_OK);
	MUST(says(&view, "new") && view.role == role);
	shmc_view_release(&view);
}

static void
play(struct scene *scene, const char *key,
    enum shmc_status (*forget)(struct shmc *, const void *, size_t))
{
	pid_t worker;

	scene->key = key;
	worker = start(fetch_old, scene);
	gate_pass(&scene->leading);
	MUST(forget(scene->cache, key, 1) == SHMC_OK);
	expect(scene, SHMC_ROLE_LED); /* does not wait for the old one */
	gate_open(&scene->go_on);
	finish(worker);
	expect(scene, SHMC_ROLE_HIT); /* the late one has not replaced it */
}

int
main(void)
{
	struct scene scene = { open_cache(), NULL, gate_new(), gate_new() };

	play(&scene, "a", shmc_invalidate); /* never stored */
	play(&scene, "b", shmc_detach); /* stored if nothing newer was */
	printf("who comes after gets the new value, at once and later\n");
	MUST(stats_of(scene.cache).superseded == 2);
	shmc_close(scene.cache);
	return 0;
}
