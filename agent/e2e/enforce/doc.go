// Package enforce tests the ValidatingAdmissionPolicies that `kube-devops policy export vap` prints, on a real API server: they must refuse exactly
// the violations that the engine finds in the stored object, and must not affect other requests.
//
// It starts its own cluster, with an audit log. These environment variables change the tests:
//
//	E2E_BINARY   test this kube-devops binary instead of building one.
//	E2E_LOGS     keep the logs and data of all components in this folder.
//	ENFORCE      full: compare 3,000 pods and 1,000 templates for each table; otherwise a sample.
//	SEED         the seed of the random objects, which a failure prints.
package enforce
