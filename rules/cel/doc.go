// Package cel translates the checks of a policy table to expressions of the Common Expression Language, for ValidatingAdmissionPolicies of
// Kubernetes 1.30 and later. An expression has the same result as the engine has for the stored object. The package does not depend on the
// form of the policy objects, and evaluates nothing.
//
// The expressions never fail on an object that the API server accepts: as in the engine, a path to a value of another type has no value.
// Unknown results follow the three-valued logic of the engine: each predicate can be translated as "is true" (must) and as "may be true", and
// negation exchanges the two.
package cel
