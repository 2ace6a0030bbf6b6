// Package podlist reads the pods of a cluster once and yields them as a recording: one PodList for each page.
//
// It speaks to an API server and bounds what that server, or a proxy before it, can make it do. It must not know what a
// recording is used for: nothing of rules, scans or reports.
package podlist
