// Package cel writes the checks of a policy table as expressions of the Common Expression Language, for ValidatingAdmissionPolicies of
// Kubernetes 1.30 and later. An expression has the answer that the engine has for the object as the API server stores it. It must not
// know how policies are written, and evaluates nothing.
//
// The expressions never fail on an object that the API server accepts: a path that leads to a value of another type leads to nothing,
// as in the engine. Unknown answers follow the three-valued logic of the engine: each predicate can be written as "is true" and as
// "may be true", and not exchanges the two.
package cel
