// SPDX-License-Identifier: GPL-2.0-or-later
// The API's routes (docs/API.md).
#pragma once

#include "agent/http_request.h"

// Answers REQUEST, or lets the agent do it later.
void api_dispatch(HttpRequest *request, const char *method, const char *path);

// A route's handler; NAME is the path's variable part or NULL.
typedef void (*ApiHandler)(HttpRequest *request, const char *name);

// api_cluster.c
void api_get_cluster(HttpRequest *request, const char *name);
void api_get_doctor(HttpRequest *request, const char *name);
void api_get_nodes(HttpRequest *request, const char *name);
void api_get_node(HttpRequest *request, const char *name);
void api_put_standby(HttpRequest *request, const char *name);
void api_get_jobs(HttpRequest *request, const char *name);
void api_get_job(HttpRequest *request, const char *name);
// api_storage.c
void api_get_storage(HttpRequest *request, const char *name); // of all VMs where NAME is NULL
void api_post_storage_login(HttpRequest *request, const char *name);
void api_post_storage_logout(HttpRequest *request, const char *name);
// api_vms.c
void api_get_vms(HttpRequest *request, const char *name);
void api_get_vm(HttpRequest *request, const char *name);
void api_post_vms(HttpRequest *request, const char *name);
void api_put_vm(HttpRequest *request, const char *name);
void api_delete_vm(HttpRequest *request, const char *name);
void api_post_start(HttpRequest *request, const char *name);
void api_post_stop(HttpRequest *request, const char *name);
void api_post_save(HttpRequest *request, const char *name);
void api_post_migrate(HttpRequest *request, const char *name);
void api_post_discard(HttpRequest *request, const char *name);
