/// The version of this build, the same for host and agent.
package let rumVersion = "0.1.0"
