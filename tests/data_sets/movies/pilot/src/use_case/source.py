"""The data source: films, as they are released in the United States."""

from datetime import datetime

import ibis

RATINGS = ["R", "PG-13", "PG", "G"]


def rows(source: ibis.BaseBackend, start: datetime, end: datetime) -> ibis.Table:
    """Returns the films released in [start, end), from 1995 to June 2010: later months are incomplete."""
    movies = source.table("movies")
    released = movies["Release Date"].as_timestamp("%b %d %Y")
    century = ibis.ifelse(released >= datetime(2012, 1, 1), 100, 0)  # 1946 is written as 2046
    movies = movies.mutate(release_date=released - century.as_interval("Y"))
    movies = movies.filter((movies.release_date >= datetime(1995, 1, 1)) & (movies.release_date < datetime(2010, 7, 1)))
    movies = movies.filter((movies.release_date >= start) & (movies.release_date < end))
    return movies.select(
        movie_no=movies["movie_no"].cast("string"),
        release_date=movies["release_date"],
        title=ibis.coalesce(movies["Title"].str, movies["Title"].cast("string")),  # JSON: some titles are numbers
        distributor=movies["Distributor"],
        origin=movies["Source"],
        genre=movies["Major Genre"],
        creative_type=movies["Creative Type"],
        budget=movies["Production Budget"],
        rating=movies["MPAA Rating"].isin(RATINGS).ifelse(movies["MPAA Rating"], ibis.null()),
    )
