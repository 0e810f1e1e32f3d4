"""What a person looks at in Kibana: saved objects of one alias, and putting them there."""
