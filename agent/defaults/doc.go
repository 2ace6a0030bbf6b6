// Package defaults sets the defaults of the API in a pod, as the API server does before admission
// (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/). It also writes quantities and empty values in the form of
// the API server.
//
// It does not add what mutating admission adds: defaults of LimitRanges, changes of webhooks, the token volume of the service account,
// tolerations and priorities. Nor does it set the defaults of pod-level resources, the fields for AppArmor annotations, and the defaults of
// iSCSI, RBD, ScaleIO and Azure disk volumes.
package defaults
