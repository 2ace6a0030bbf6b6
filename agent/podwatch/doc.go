// Package podwatch watches the Pods of a cluster, or of some of its namespaces, keeps a compact cache of them, and reports
// which pods have changed.
//
// It uses client-go's informer and dynamic client, with three additions: pods are reduced to the fields in use while they are
// decoded (Projection), requests that hang or never end have a limit, and the cache can be compared with a list of the API
// server (Watch.Differences). It must not know rules, scores, leader election or HTTP servers.
package podwatch
