// Package defaults completes a pod as the API server does before it judges the pod: with the defaults of the API
// (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/), and with quantities and empty values as it writes them.
//
// It does not know what mutating admission adds: LimitRanges, webhooks, the token volume of the service account, tolerations and priorities.
// Nor does it know the defaults of pod-level resources, the fields that are set by AppArmor annotations, and the defaults of iSCSI, RBD, ScaleIO and Azure disk volumes.
package defaults
