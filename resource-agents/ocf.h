// SPDX-License-Identifier: GPL-2.0-or-later
// OCF 1.1 exit codes.
// https://github.com/ClusterLabs/OCF-spec/blob/main/ra/1.1/resource-agent-api.md
#pragma once

enum {
    OCF_SUCCESS = 0,
    OCF_ERR_GENERIC = 1,
    OCF_ERR_ARGS = 2,
    OCF_ERR_UNIMPLEMENTED = 3,
    OCF_ERR_INSTALLED = 5,
    OCF_ERR_CONFIGURED = 6,
    OCF_NOT_RUNNING = 7,
};
