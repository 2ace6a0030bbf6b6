// Package enforce tests the ValidatingAdmissionPolicies that `kube-devops policy export vap` prints, on a real API server: what they
// refuse is what the engine finds in the stored object, and nothing else changes for whoever uses the cluster.
//
// It needs a cluster of its own, with an audit log. The environment may say:
//
//	E2E_BINARY   test this kube-devops binary and build none.
//	E2E_LOGS     keep the logs and data of every component in this folder.
//	ENFORCE      full: compare 3,000 pods and 1,000 templates for each table; otherwise a sample.
//	SEED         the seed of the random objects, as a failure prints it.
package enforce
