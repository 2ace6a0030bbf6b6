// Package fakeapi is an API server for tests: pods, one Lease, and reviews of tokens and access. It speaks HTTP, keeps a history
// of the pods, and fails as a test configures it.
//
// Only tests import it. It must not know the code under test, so that it cannot share its errors.
package fakeapi
